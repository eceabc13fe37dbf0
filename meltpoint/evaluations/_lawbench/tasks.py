"""The 20 tasks of LawBench with their official scorers (open-compass/LawBench, arXiv 2309.16289)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from meltpoint.evaluations._lawbench.choices import articles, one_option, option_set
from meltpoint.evaluations._lawbench.data import labels
from meltpoint.evaluations._lawbench.items import Answer, Scorer, Verdict
from meltpoint.evaluations._lawbench.numerals import amount, prison_term
from meltpoint.evaluations._lawbench.overlap import entities, reading, rouge_l, triggers
from meltpoint.evaluations._lawbench.proofreading.score import corpus_f_half, proofreading

IDS = (
    *("1-1", "1-2", "2-1", "2-2", "2-3", "2-4", "2-5", "2-6", "2-7", "2-8", "2-9", "2-10"),
    *("3-1", "3-2", "3-3", "3-4", "3-5", "3-6", "3-7", "3-8"),
)
# Tasks whose official function counts answers that hold nothing to score.
COUNT_ABSTENTIONS = frozenset(
    ("1-2", "2-2", "2-3", "2-4", "2-6", "2-8", "2-9", "3-1", "3-3", "3-4", "3-5", "3-6", "3-7")
)


# Tasks whose score is computed from sums of counts over all answers; other scores are means.
CORPUS_LEVEL = frozenset(("2-1",))


@dataclass(frozen=True)
class TaskResult:
    """A task's score, the fraction of abstentions (None if not counted), and all verdicts."""

    score: float | None
    abstention: float | None
    verdicts: Sequence[Verdict | None]


def score_task(task: str, answers: Sequence[Answer]) -> TaskResult:
    """The official result of a task's answers; its score is None if no answer counts.

    The score is over the answers that count, the fraction of abstentions over all answers.
    """
    return result_of(task, [scorers()[task](answer) for answer in answers])


def result_of(task: str, verdicts: Sequence[Verdict | None]) -> TaskResult:
    """The official result of a task from the verdicts on its answers."""
    counted = [verdict for verdict in verdicts if verdict is not None]
    if not counted:
        return TaskResult(None, None, verdicts)
    abstentions = sum(verdict.abstained for verdict in counted) / len(verdicts)
    return TaskResult(
        _total(task)(counted), abstentions if task in COUNT_ABSTENTIONS else None, verdicts
    )


def _total(task: str) -> Callable[[Sequence[Verdict]], float]:
    return corpus_f_half if task in CORPUS_LEVEL else mean_score


def mean_score(verdicts: Sequence[Verdict]) -> float:
    """The mean of the verdicts' scores."""
    return sum(verdict.score for verdict in verdicts) / len(verdicts)


@cache
def scorers() -> Mapping[str, Scorer]:
    """The official scorer of each task, by the task's number."""
    lists = labels()
    return {
        "1-1": rouge_l("答案:"),
        "1-2": one_option("ABCD", lambda reference: reference[5:6]),
        "2-1": proofreading,
        "2-2": one_option(lists["2-2"], lambda reference: reference[7:-1], left_out=("赔偿",)),
        "2-3": option_set(lists["2-3"], lambda reference: _after(reference[:-1], "类别:", "、")),
        "2-4": one_option(lists["2-4"], lambda reference: reference),
        "2-5": reading,
        "2-6": entities(lists["2-6"]),
        "2-7": rouge_l(),
        "2-8": one_option("ABCDE", lambda reference: reference[6:7]),
        "2-9": option_set(lists["2-9"], lambda reference: _after(reference, "", ";")),
        "2-10": triggers,
        "3-1": articles,
        "3-2": rouge_l(),
        "3-3": option_set(lists["3-3"], lambda reference: _after(reference, "罪名:", ";")),
        "3-4": prison_term,
        "3-5": prison_term,
        "3-6": one_option("ABCD", lambda reference: reference[5:6]),
        "3-7": amount,
        "3-8": rouge_l(),
    }


def _after(reference: str, prefix: str, separator: str) -> set[str]:
    """The labels of a reference, without the prefix before them."""
    return set(reference.removeprefix(prefix).split(separator))
