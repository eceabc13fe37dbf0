"""LawBench's samples, each an answer with its verdict, and the scores that are computed from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from meltpoint.evaluations import _degenerate
from meltpoint.evaluations._answers import Generated
from meltpoint.evaluations._lawbench.data import FOLDER
from meltpoint.evaluations._lawbench.items import Answer, Counts, Verdict
from meltpoint.evaluations._lawbench.questions import Question
from meltpoint.evaluations._lawbench.tasks import (
    CORPUS_LEVEL,
    COUNT_ABSTENTIONS,
    result_of,
    scorers,
)
from meltpoint.evaluations._means import mean_of, mean_of_units
from meltpoint.evaluations.contract import Estimate

Sample = Mapping[str, Any]


@cache
def bounds() -> Mapping[str, Mapping[str, float | str]]:
    """For each task the floor, the trivial answer that reaches it, and the score of perfect answers."""
    return json.loads((FOLDER / "bounds.json").read_text(encoding="utf-8"))


def sample_of(question: Question, answer: Generated) -> Sample:
    """The sample of an answer; its verdict is None if the official code leaves the question out."""
    scored = Answer(answer.text, question.reference, question.prompt)
    verdict = scorers()[question.task](scored)
    return {
        "task": question.task,
        "document": question.document,
        "text": answer.text,
        "tokens": answer.tokens,
        "degenerate": answer.degenerate,
        "verdict": None if verdict is None else asdict(verdict),
    }


def estimates(
    samples: Sequence[Sample], tasks: Sequence[str], refuse_above: float
) -> dict[str, Estimate]:
    """All scores of an evaluation by name, computed from its samples.

    A task's score is refused if more than `refuse_above` of its answers are degenerate, or if none of
    its questions counts.
    """
    by_task = {task: [each for each in samples if each["task"] == task] for task in tasks}
    found = {task: _score(task, part, refuse_above) for task, part in by_task.items()}
    abstentions = {
        f"{task}.abstention": _abstention(part)
        for task, part in by_task.items()
        if task in COUNT_ABSTENTIONS
    }
    return {"mean": mean_of(found), **found, **abstentions, **_degenerate.share_estimates(samples)}


def _score(task: str, samples: Sequence[Sample], refuse_above: float) -> Estimate:
    if reason := _degenerate.refusal(samples, refuse_above):
        return Estimate(refused=reason)
    verdicts = [verdict_of(sample) for sample in samples]
    counted = [verdict for verdict in verdicts if verdict is not None]
    if not counted:
        return Estimate(refused="the official code leaves all of these questions out")
    value = result_of(task, verdicts).score
    return mean_of_units(_units(task, counted, value), value)


def verdict_of(sample: Sample) -> Verdict | None:
    """The verdict in a sample; None if the official code leaves its question out."""
    facts = sample["verdict"]
    return None if facts is None else Verdict(**{**facts, "counts": Counts(**facts["counts"])})


def _units(task: str, verdicts: Sequence[Verdict], value: float) -> np.ndarray:
    """Numbers whose mean has the standard error of the score, float64 [answers that count].

    F0.5 over a corpus is a ratio of two sums, 1.25 tp and 1.25 tp + 0.25 fn + fp; its units follow from
    the delta method.
    """
    if task not in CORPUS_LEVEL:
        return np.array([verdict.score for verdict in verdicts])
    counts = [verdict.counts for verdict in verdicts]
    above = np.array([1.25 * each.tp for each in counts])
    below = above + np.array([0.25 * each.fn + each.fp for each in counts])
    if not below.any():
        return np.full(len(counts), value)
    return value + (above - value * below) / below.mean()


def _abstention(samples: Sequence[Sample]) -> Estimate:
    """The fraction of abstentions among all answers, even those that do not count for the score."""
    verdicts = [verdict_of(sample) for sample in samples]
    return mean_of_units([verdict is not None and verdict.abstained for verdict in verdicts])
