"""Answers that name options: letters, or labels of a list.

An option counts as named where it stands anywhere in the answer, in a negation or another word too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from meltpoint.evaluations._lawbench.items import Answer, Scorer, Verdict, check_reference

_ARTICLE_CLAUSE = re.compile(r"第(.*?)款")
_ARTICLE = re.compile(r"第(.*?)条")


def one_option(
    options: Sequence[str], right: Callable[[str], str], left_out: Sequence[str] = ()
) -> Scorer:
    """Scorer of a question with one right option: 1 where it is named, and no other.

    right: the right option of a reference. left_out: right options whose questions do not count.
    """

    def score(answer: Answer) -> Verdict | None:
        expected = right(answer.reference)
        if expected in left_out:
            return None
        named = [option for option in options if option in answer.prediction]
        return Verdict(float(named == [expected]), abstained=not named)

    return score


def option_set(labels: Sequence[str], right: Callable[[str], set[str]]) -> Scorer:
    """Scorer of a question with several right labels: the F1 of the set that the answer names."""

    def score(answer: Answer) -> Verdict:
        named = {label for label in labels if label in answer.prediction}
        return Verdict(set_f1(named, right(answer.reference)), abstained=not named)

    return score


def articles(answer: Answer) -> Verdict:
    """F1 of the numbers of the criminal code's articles that an answer names.

    The answer is split at 、 and each piece gives its first number, in digits or Chinese numerals.
    第…款 is deleted first, from the first 第 on: "第三百六十四条第一款" names no article then.
    """
    from meltpoint.evaluations._lawbench.numerals import integer, to_digits

    right = answer.reference.removeprefix("法条:刑法第").removesuffix("条").split("、")
    check_reference(all(number.isdecimal() for number in right), answer.reference)
    named = set()
    for piece in answer.prediction.split("、"):
        text = _ARTICLE_CLAUSE.sub("", piece.replace("万元", "元"))
        digits = re.search(r"\d+", to_digits(_ARTICLE.sub(r"\1", text)))
        if digits:
            named.add(integer(digits.group()))
    return Verdict(set_f1(named, {integer(number) for number in right}), abstained=not named)


def set_f1(predicted: set, reference: set) -> float:
    """F1 of a set against another; 0 where they share nothing."""
    hits = len(predicted & reference)
    if not hits:
        return 0.0
    precision, recall = hits / len(predicted), hits / len(reference)
    return 2 * precision * recall / (precision + recall)
