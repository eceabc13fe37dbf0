"""Scores that are means: over answers, and over other scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meltpoint.evaluations.contract import Estimate
from meltpoint.evaluations.windows import error_of_mean
from meltpoint.lazy_import import numpy as np


def mean_of_units(units: Sequence[float], value: float | None = None) -> Estimate:
    """A mean over answers with its standard error, which is None for a single answer.

    value: the score, if it is not exactly the units' mean.
    """
    numbers = np.asarray(units, np.float64)
    score = float(numbers.mean()) if value is None else value
    return Estimate(score, error_of_mean(numbers) if len(numbers) > 1 else None, numbers)


def mean_of_known(values: Sequence[float | None]) -> Estimate:
    """A mean over the answers that have a number, with a unit for every answer.

    Two models are paired answer by answer, and each may lack the numbers of other answers. With n of N
    numbers known and their mean v, a number u has the unit ``v + (u - v) N / n``, and an answer without
    a number has the unit v (delta method for a ratio of means). At least one number must be known.
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
    """The plain mean of scores that have units; refused if one of the scores is.

    The units of all scores are scaled so that together they have the standard error of the mean. If a
    score of value v has n of all N units, its unit u becomes ``mean + (u - v) N / (k n)`` for k scores.
    answers: for each score the numbers of the answers that its units belong to. Scores that share
    answers, such as a group and one of its tasks, are not independent: the units of one answer are
    then added up.
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
    """A mean with one unit for each answer, the sum of the answer's parts.

    parts: deviations from the mean, [parts]. answers: the answer of each part, int64 [parts]. Sums are
    scaled by the number of answers over that of parts.
    """
    sums = np.bincount(answers, parts)
    units = value + sums * len(sums) / len(parts)
    return Estimate(value, error_of_mean(units) if len(units) > 1 else None, units)
