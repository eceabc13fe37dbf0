"""Samples of tasks, one for each document, and the scores that are computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._means import mean_of, mean_of_units
from meltpoint.evaluations.contract import Estimate

NON_FINITE = "non_finite"
# Metrics that have a score of their own.
ACC, ACC_NORM = "acc", "acc_norm"
# Key of the first metric of a task without acc and acc_norm.
OTHER = "score"

Sample = Mapping[str, Any]


def sample_of(
    name: str, logged: Mapping[str, Any], averaged: Sequence[str], groups: Sequence[str]
) -> Sample:
    """The sample of a document, made from lm-eval's log of it.

    averaged: the task's metrics that are means over documents. Raises MeltpointError if the log has
    none of them.
    """
    sample = {"task": name, "document": logged["doc_id"], **_answer(logged)}
    numbers = {m: float(logged[m]) for m in averaged if isinstance(logged.get(m), Real)}
    if not numbers:
        raise MeltpointError(
            f"tasks: {name} has no metric that is a mean over its documents: name another task"
        )
    sample |= {metric: numbers[metric] for metric in (ACC, ACC_NORM) if metric in numbers}
    if ACC not in numbers and ACC_NORM not in numbers:
        metric, value = next(iter(numbers.items()))
        sample |= {"metric": metric, OTHER: value}
    return sample | ({"groups": list(groups)} if groups else {})


def _answer(logged: Mapping[str, Any]) -> dict[str, Any]:
    """The written text, or each choice's log-likelihood and a mark if one of them is not finite."""
    responses = [each[0] for each in logged["resps"]]
    if isinstance(responses[0], str):
        return {"text": responses[0]}
    sums = [float(loglikelihood) for loglikelihood, _ in responses]
    finite = all(map(math.isfinite, sums))
    return {"loglikelihoods": sums, **({} if finite else {"degenerate": [NON_FINITE]})}


def estimates(
    samples: Sequence[Sample], names: Sequence[str], refuse_above: float
) -> dict[str, Estimate]:
    """All scores of an evaluation by name, computed from its samples.

    names: the tasks and groups that the study names. The score of a task is acc_norm if lm-eval has it,
    else acc, else the task's first metric. A score is refused if more than `refuse_above` of its
    documents have log-likelihoods that are not finite.
    """
    found: dict[str, Estimate] = {}
    places = _answers_of(samples, names)
    for name in names:
        part = [samples[place] for place in places[name]]
        scores = {m: weighted_mean(part, m) for m in (ACC_NORM, ACC, OTHER) if m in part[0]}
        if reason := refusal(part, refuse_above):
            scores = dict.fromkeys(scores, Estimate(refused=reason))
        found[name] = next(iter(scores.values()))
        found |= {f"{name}.{metric}": scores[metric] for metric in scores if metric != OTHER}
    found["mean"] = mean_of({name: found[name] for name in names}, places)
    broken = ["degenerate" in each for each in samples]
    return found | {f"degenerate.{NON_FINITE}": mean_of_units(broken)}


def _answers_of(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, list[int]]:
    """For each task or group the places of its samples."""
    return {
        name: [
            n for n, each in enumerate(samples) if name in (each["task"], *each.get("groups", ()))
        ]
        for name in names
    }


def weighted_mean(samples: Sequence[Sample], metric: str) -> Estimate:
    """Mean of a metric over documents, with lm-eval's standard error.

    The mean of several tasks is weighted by their sizes, and its error is pooled. With n documents and
    the standard error e in each of k tasks it is sqrt(sum((n - 1) n e^2) / (sum(n) - k) / sum(n)). The
    error is None if each task has one document.
    """
    values = np.array([each[metric] for each in samples], np.float64)
    tasks = np.array([each["task"] for each in samples])
    parts = [values[tasks == name] for name in dict.fromkeys(tasks)]
    freedom = len(values) - len(parts)
    if not freedom:
        return Estimate(float(values.mean()), None, values)
    squares = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    return Estimate(float(values.mean()), math.sqrt(squares / freedom / len(values)), values)


def floors(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, float]:
    """Accuracies at chance, by score: of the named tasks and groups, of their metrics, of the mean.

    A document with k choices is answered right by chance with probability 1 / k, and a document that
    asks for a text never is.
    """
    found: dict[str, float] = {}
    for name in names:
        part = [each for each in samples if name in (each["task"], *each.get("groups", ()))]
        choices = [len(each.get("loglikelihoods", ())) for each in part]
        chance = float(np.mean([1 / k if k > 1 else 0.0 for k in choices]))
        found |= dict.fromkeys((name, f"{name}.{ACC}", f"{name}.{ACC_NORM}"), chance)
    return found | {"mean": float(np.mean([found[name] for name in names]))}


def refusal(samples: Sequence[Sample], refuse_above: float) -> str | None:
    """The reason why the score of samples is refused, with an example; None if it is not refused."""
    broken = [each for each in samples if "degenerate" in each]
    share = len(broken) / len(samples)
    if share <= refuse_above:
        return None
    first = broken[0]
    return (
        f"{share:.0%} of {len(samples)} documents have log-likelihoods that are not finite, more than "
        f"refuse_above = {refuse_above:g}; for example document {first['document']} of "
        f"{first['task']}: {first.get('loglikelihoods')}"
    )
