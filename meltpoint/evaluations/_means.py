"""Scores that are means: over answers, and over other scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def mean_of(named: Mapping[str, Estimate]) -> Estimate:
    """The plain mean of scores that have units; refused where one of them is.

    A unit's part in the mean of k scores is scaled so that all units together have its error: with n
    of N units in a score of value v, a unit u becomes ``mean + (u - v) N / (k n)``.
    """
    if refused := [name for name, score in named.items() if score.refused is not None]:
        verb = "is" if len(refused) == 1 else "are"
        first = f"{refused[0]}: {named[refused[0]].refused}"
        return Estimate(
            refused=f"{len(refused)} of its {len(named)} scores {verb} refused; {first}"
        )
    scores = list(named.values())
    value = float(np.mean([score.value for score in scores]))
    total = sum(len(score.units) for score in scores)
    parts = [
        value + (score.units - score.value) * total / (len(scores) * len(score.units))
        for score in scores
    ]
    errors = [score.stderr for score in scores]
    stderr = None if None in errors else float(np.linalg.norm(errors)) / len(errors)
    return Estimate(value, stderr, np.concatenate(parts))
