"""The rules of compressions: one for each method, and one more for checkpoints that are evicted."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from meltpoint import methods
from meltpoint.study.resolved import Study
from meltpoint.study.training_texts import token_files, training_texts

if TYPE_CHECKING:
    from snakemake.iocontainers import Wildcards

# A constraint that no wildcard meets.
NOTHING = r"(?!)"


class Compressions:
    """The compressions of a study, whose checkpoints are below its `results`."""

    def __init__(self, study: Study, results: str) -> None:
        self.study, self.results = study, results

    @property
    def _keeps_all(self) -> bool:
        return self.study.config.keep_checkpoints == "all"

    def rules(self) -> list[tuple[methods.Method, bool]]:
        """The methods, each with whether its rule's checkpoints are temporary."""
        kept = [False] if self._keeps_all else [False, True]
        return [(method, t) for method in methods.registry().values() for t in kept]

    def output(
        self, directory: Callable[[str], str], temp: Callable[[str], str], temporary: bool
    ) -> str:
        """The output of a compression, flagged by Snakemake's own functions."""
        flagged = directory(f"{self.results}/cells/{{model}}/{{prefix}}{{step}}/checkpoint")
        return temp(flagged) if temporary else flagged

    def texts(self, wildcards: "Wildcards") -> list[str]:
        """Files of the tokens that a step is trained on, in the order of its settings' `texts`."""
        step = self.study.steps(wildcards.prefix + wildcards.step)[-1]
        folder = f"{self.results}/tokens/{wildcards.model}"
        texts = training_texts(self.study.config, methods.find(step.method).settings(step))
        return [file for text in texts.values() for file in token_files(text, folder)]

    def prefixes(self, temporary: bool) -> str:
        """The constraint of the prefix: by looking ahead, that of the whole chain too."""
        anything = r"(?:[^/]+\+)?"
        if self._keeps_all:
            return anything
        built_on = "|".join(re.escape(chain) for _, chain in sorted(self.study.prefixes))
        ahead = "?!" if temporary else "?="
        return rf"({ahead}(?:{built_on or NOTHING})/checkpoint){anything}"

    def steps_of(self, method: methods.Method) -> str:
        """The constraint of the step: the method at any level, with any settings."""
        return rf"{method.name}(?:[@,][^+/:]*)?"
