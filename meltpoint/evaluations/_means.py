"""Scores that are means: over answers, and over other scores."""

from __future__ import annotations

from collections.abc import Sequence

from meltpoint.evaluations.contract import Estimate
from meltpoint.evaluations.windows import error_of_mean
from meltpoint.lazy_import import numpy as np


def mean_of_units(units: Sequence[float], value: float | None = None) -> Estimate:
    """A mean over answers with its standard error, which needs two of them.

    value: the score, where it is not exactly the units' mean.
    """
    numbers = np.asarray(units, np.float64)
    score = float(numbers.mean()) if value is None else value
    return Estimate(score, error_of_mean(numbers) if len(numbers) > 1 else None, numbers)


def mean_of(scores: Sequence[Estimate]) -> Estimate:
    """The plain mean of scores that have units.

    A unit's part in the mean of k scores is scaled so that all units together have its error: with n
    of N units in a score of value v, a unit u becomes ``mean + (u - v) N / (k n)``.
    """
    value = float(np.mean([score.value for score in scores]))
    total = sum(len(score.units) for score in scores)
    parts = [
        value + (score.units - score.value) * total / (len(scores) * len(score.units))
        for score in scores
    ]
    errors = [score.stderr for score in scores]
    stderr = None if None in errors else float(np.linalg.norm(errors)) / len(errors)
    return Estimate(value, stderr, np.concatenate(parts))
