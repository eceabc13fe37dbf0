"""Answers that name options: letters, or labels of a list.

An option counts as named if it occurs anywhere in the answer, even in a negation or within a word.
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
    """Scorer of questions with one right option: 1 if the answer names it alone, else 0.

    right: finds the right option in a reference. left_out: questions with these right options do not
    count.
    """

    def score(answer: Answer) -> Verdict | None:
        expected = right(answer.reference)
        if expected in left_out:
            return None
        named = [option for option in options if option in answer.prediction]
        return Verdict(float(named == [expected]), abstained=not named)

    return score


def option_set(labels: Sequence[str], right: Callable[[str], set[str]]) -> Scorer:
    """Scorer of questions with several right labels: the F1 of the labels that the answer names.

    right: finds the right labels in a reference.
    """

    def score(answer: Answer) -> Verdict:
        named = {label for label in labels if label in answer.prediction}
        return Verdict(set_f1(named, right(answer.reference)), abstained=not named)

    return score


def articles(answer: Answer) -> Verdict:
    """F1 of the numbers of the criminal code's articles that an answer names.

    The answer is split at 、, and the first number of each piece counts, in digits or Chinese numerals.
    第…款 is deleted before, from the first 第 on: "第三百六十四条第一款" therefore names no article.
    Raises MeltpointError for a reference in another form.
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
    """F1 of the predicted set, 0 to 1; 0 if the two sets share nothing."""
    hits = len(predicted & reference)
    if not hits:
        return 0.0
    precision, recall = hits / len(predicted), hits / len(reference)
    return 2 * precision * recall / (precision + recall)
