"""An answer to a question of LawBench, and the verdict of a scorer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meltpoint.errors import MeltpointError


@dataclass(frozen=True)
class Answer:
    """A model's answer, the reference answer of the data set, and the whole prompt."""

    prediction: str
    reference: str
    prompt: str = ""


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


@dataclass(frozen=True)
class Verdict:
    """Score of one answer, or its counts if the task's score is computed from their sums.

    `abstained` is true for an answer in which the scorer found nothing to score.
    """

    score: float = 0.0
    abstained: bool = False
    counts: Counts = Counts()


def check_reference(known: bool, reference: str) -> None:
    """Raises MeltpointError unless the reference is in a known form, that of the data set."""
    if not known:
        raise MeltpointError(
            f"the reference {reference[:40]!r} is not in LawBench's form: see its data set"
        )


# A scorer returns None if the official code leaves the question out of the mean.
Scorer = Callable[[Answer], Verdict | None]
