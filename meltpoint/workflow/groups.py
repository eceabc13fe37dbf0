"""Groups of jobs that are submitted together: a compression and the cells of its checkpoint."""

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
        """Group of a measurement: that of its chain, or None if it is submitted by itself.

        A measurement is submitted by itself if it needs a machine for itself, or if it reads the
        checkpoints of other chains, because two groups must not wait for each other. So is one of the
        dense model, which waits for no compression.
        """
        settings = self.study.config.evaluations[wildcards.evaluation]
        kind = evaluations.kind_of(settings)
        if kind.alone or kind.needs(settings).checkpoints or wildcards.chain == DENSE:
            return None
        return name_of(wildcards.model, wildcards.chain)


def name_of(model: str, chain: str) -> str:
    """Name of a chain's group, which may be part of a path and of a command."""
    return re.sub(r"[^\w.+-]", "_", f"{model}.{chain}")
