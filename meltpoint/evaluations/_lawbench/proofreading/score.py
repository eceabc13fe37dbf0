"""Scores of corrected sentences: edits counted against the reference's, F0.5 over all sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._lawbench.items import Answer, Counts, Verdict
from meltpoint.evaluations._lawbench.proofreading.edits import Edit, edits_of

EMPTY = "无内容"
NO_ERROR = "没有错误"
NOT_ANNOTATED = "无法标注"
BEFORE_SOURCE = "句子：\n"
# An answer may be longer than the reference by this number of characters; the rest is cut off.
MOST_LONGER = 5


def proofreading(answer: Answer) -> Verdict | None:
    """Counts of right, wrong and missing edits of an answer; None for a sentence without a reference.

    Raises MeltpointError for a prompt that does not hold the sentence.
    """
    source = _without_blanks(_one_line(source_of(answer.prompt)))
    reference, prediction = _one_line(answer.reference), _one_line(answer.prediction)
    if len(prediction) - len(reference) > MOST_LONGER:
        prediction = prediction[: len(reference) + MOST_LONGER]
    reference, prediction = _target(reference), _target(prediction)
    if reference == NOT_ANNOTATED:
        return None
    return Verdict(counts=count(_edits(source, prediction), _edits(source, reference)))


def source_of(prompt: str) -> str:
    """The sentence that a prompt asks to correct; raises MeltpointError if there is none."""
    _, found, rest = prompt.partition(BEFORE_SOURCE)
    if not found:
        raise MeltpointError(
            f"task 2-1: the prompt {prompt[:40]!r} has no line after '句子：': "
            "give the whole prompt as origin_prompt"
        )
    return rest.split("\n")[0]


def count(predicted: Counter[Edit], right: Counter[Edit]) -> Counts:
    """True and false positives and false negatives of predicted edits.

    An edit counts once for each alignment that has it, a true positive as often as in the reference.
    """
    return Counts(
        tp=sum(right[edit] for edit in predicted.keys() & right.keys()),
        fp=sum(predicted[edit] for edit in predicted.keys() - right.keys()),
        fn=sum(right[edit] for edit in right.keys() - predicted.keys()),
    )


def corpus_f_half(verdicts: Sequence[Verdict]) -> float:
    """F0.5 of the sums of all verdicts' counts, rounded to 4 decimals.

    As in the official code, precision is 1 without false positives, even if there is no true one, and
    recall is 1 without false negatives.
    """
    total = sum((verdict.counts for verdict in verdicts), Counts())
    precision = total.tp / (total.tp + total.fp) if total.fp else 1.0
    recall = total.tp / (total.tp + total.fn) if total.fn else 1.0
    if not precision + recall:
        return 0.0
    return round(1.25 * precision * recall / (0.25 * precision + recall), 4)


def _edits(source: str, target: str) -> Counter[Edit]:
    if target in (NO_ERROR, NOT_ANNOTATED):
        return Counter()
    return edits_of(source, target)


def _one_line(text: str) -> str:
    return text.replace("\n", "").replace("\t", "")


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def _target(text: str) -> str:
    """A corrected sentence in the form for comparison: simplified characters, no white space."""
    return _converter().convert(_without_blanks(text or EMPTY))


@cache
def _converter():
    from opencc import OpenCC

    return OpenCC("t2s")
