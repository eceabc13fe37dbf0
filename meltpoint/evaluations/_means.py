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


def mean_of_known(values: Sequence[float | None]) -> Estimate:
    """A mean over the answers that have a number, with a unit for every answer.

    Two models are paired answer by answer, and each may lack numbers of its own. With n of N answers
    known and the mean v, the unit of a number u is ``v + (u - v) N / n``, that of an answer without
    one is v (a ratio of means, delta method). At least one must be known.
    """
    known = [value for value in values if value is not None]
    if len(known) == len(values):
        return mean_of_units(known)
    mean = float(np.mean(known))
    scale = len(values) / len(known)
    units = np.array([mean if u is None else mean + (u - mean) * scale for u in values])
    return Estimate(mean, error_of_mean(units) if len(known) > 1 else None, units)


def mean_of(
    named: Mapping[str, Estimate], answers: Mapping[str, Sequence[int]] | None = None
) -> Estimate:
    """The plain mean of scores that have units; refused where one of them is.

    A unit's part in the mean of k scores is scaled so that all units together have its error: with n
    of N units in a score of value v, a unit u becomes ``mean + (u - v) N / (k n)``. answers: which
    answer each unit of a score is of. Scores that share answers, such as a group and a task of it, are
    not independent: the parts of one answer are then added up.
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
    if answers is not None:
        places = np.concatenate([np.asarray(answers[name]) for name in named])
        if len(distinct := np.unique(places, return_inverse=True)[1]) > distinct.max() + 1:
            return _of_shared_answers(value, np.concatenate(parts) - value, distinct)
    errors = [score.stderr for score in scores]
    stderr = None if None in errors else float(np.linalg.norm(errors)) / len(errors)
    return Estimate(value, stderr, np.concatenate(parts))


def _of_shared_answers(value: float, parts: np.ndarray, answers: np.ndarray) -> Estimate:
    """A mean whose units are answers: each the sum of its parts, which are scaled to their number."""
    sums = np.bincount(answers, parts)
    units = value + sums * len(sums) / len(parts)
    return Estimate(value, error_of_mean(units) if len(units) > 1 else None, units)
