"""Groups of jobs that are one submission: a compression and the cells of its checkpoint."""

import re
from typing import TYPE_CHECKING

from meltpoint import evaluations
from meltpoint.chain import DENSE
from meltpoint.study.resolved import Study

if TYPE_CHECKING:
    from snakemake.iocontainers import Wildcards


class Groups:
    """The groups of a study's jobs by name, one for each chain of a model."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def of_compression(self, wildcards: "Wildcards") -> str:
        """Group of a compression: that of its chain."""
        return name_of(wildcards.model, wildcards.prefix + wildcards.step)

    def of_evaluation(self, wildcards: "Wildcards") -> str | None:
        """Group of a measurement: that of its chain; None for one that is a submission of its own.

        That is one that needs a machine for itself, and one that reads other chains' checkpoints: of
        two groups neither may wait for the other. The dense model's wait for nothing of a chain.
        """
        settings = self.study.config.evaluations[wildcards.evaluation]
        kind = evaluations.kind_of(settings)
        if kind.alone or kind.needs(settings).checkpoints or wildcards.chain == DENSE:
            return None
        return name_of(wildcards.model, wildcards.chain)


def name_of(model: str, chain: str) -> str:
    """Name of a chain's group, which may be part of a path and of a command."""
    return re.sub(r"[^\w.+-]", "_", f"{model}.{chain}")
