"""Answers that are texts, scored by the characters or words that they share with the reference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

from meltpoint.evaluations._lawbench.items import Answer, Scorer, Verdict, check_reference

# Keeps a ratio finite where both of its terms are zero; part of the official scores.
TINY = 1e-10
# The text that replaces a blank answer, as ROUGE needs a word.
EMPTY = "无内容"


def character_f1(prediction: str, reference: str) -> float:
    """F1 of two texts' letters and digits as multisets; 1 if neither text has any."""
    first, second = _characters(prediction), _characters(reference)
    if not first or not second:
        return float(not first and not second)
    shared = (first & second).total()
    if not shared:
        return 0.0
    precision, recall = shared / first.total(), shared / second.total()
    return 2 * precision * recall / (precision + recall)


def _characters(text: str) -> Counter[str]:
    return Counter(c for c in text.lower() if c.isdigit() or c.isalpha())


def reading(answer: Answer) -> Verdict:
    """Character F1 of an answer to a question about a text."""
    return Verdict(character_f1(answer.prediction, answer.reference.removeprefix("回答:")))


def triggers(answer: Answer) -> Verdict:
    """Soft F1 of trigger words: the nth word of the answer is compared with the reference's nth."""
    predicted, right = answer.prediction.split(";"), answer.reference.split(";")
    similarity = sum(map(character_f1, predicted, right))
    return Verdict(_soft_f1(similarity, len(predicted), len(right)))


def entities(types: Sequence[str]) -> Scorer:
    """Scorer of named entities: soft F1 over the types of entity in answer and reference.

    It raises MeltpointError for a reference in another form.
    """

    def score(answer: Answer) -> Verdict:
        predicted = _entities(answer.prediction, types)
        if not answer.reference:
            return Verdict(float(not predicted))
        pairs = [pair.partition(":") for pair in answer.reference.split(";")]
        check_reference(all(colon for _, colon, _ in pairs), answer.reference)
        right = {name: value for name, _, value in pairs}
        similarity = sum(character_f1(predicted[t], right[t]) for t in predicted if t in right)
        value = _soft_f1(similarity, len(predicted), len(right))
        return Verdict(value, abstained=not predicted)

    return score


def _entities(text: str, types: Sequence[str]) -> dict[str, str]:
    """Entities of a text by type: the text after a type and a colon, up to a blank or a new line."""
    found = {}
    for name in types:
        for place in re.finditer(re.escape(name), text):
            start = place.end()
            if start >= len(text) - 2 or text[start] not in ":：":
                continue
            value = re.split(r"[\n ]", text[start + 1 :].strip(), maxsplit=1)[0].strip()
            if value not in ("无", "未提及"):
                found[name] = value
    return found


def _soft_f1(similarity: float, predicted: int, right: int) -> float:
    if not predicted or not right:
        return 0.0
    precision, recall = similarity / predicted, similarity / right
    return 2 * precision * recall / (precision + recall + TINY)


def rouge_l(prefix: str = "") -> Scorer:
    """Scorer by the F1 of ROUGE-L over jieba's words; `prefix` is removed from the reference."""

    def score(answer: Answer) -> Verdict:
        prediction = _words(answer.prediction) if answer.prediction.strip() else EMPTY
        reference = _words(answer.reference.removeprefix(prefix))
        return Verdict(_rouge().get_scores(prediction, reference)[0]["rouge-l"]["f"])

    return score


def _words(text: str) -> str:
    """The words of a Chinese text, joined with blanks."""
    import jieba

    # Without this jieba reports on standard error that it reads its dictionary.
    jieba.setLogLevel("ERROR")
    return " ".join(jieba.cut(text))


@cache
def _rouge():
    from rouge_chinese import Rouge

    return Rouge(metrics=["rouge-l"])
