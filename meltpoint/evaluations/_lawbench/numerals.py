"""Answers that are numbers: prison terms and sums of money."""

from __future__ import annotations

import math
import re
import warnings
from decimal import Decimal

from meltpoint.evaluations._lawbench.items import Answer, Verdict, check_reference

# The distance of a term that is not given, and the scale of the score: ln(18 years in months).
LARGEST = math.log(216)


def prison_term(answer: Answer) -> Verdict | None:
    """Score of a prison term: 1 - |ln(right + 1) - ln(predicted + 1)| / ln 216, not clipped.

    The predicted term is the first number before 个月; else the first before 月, a date's month too;
    else 12 times the first before 年. None for a sentence of death or for life.
    """
    if "死刑" in answer.reference or "无期" in answer.reference:
        return None
    months = re.search(r"\d+", answer.reference)
    check_reference(months is not None, answer.reference)
    right = integer(months.group())
    predicted = _months(to_digits(answer.prediction))
    if predicted is None:
        return Verdict(0.0, abstained=True)
    distance = abs(math.log(right + 1) - math.log(predicted + 1))
    return Verdict((LARGEST - distance) / LARGEST)


def amount(answer: Answer) -> Verdict:
    """1 where the right sum of money is among the numbers of the text, written in digits."""
    right = answer.reference.removeprefix("上文涉及到的犯罪金额:").removesuffix("元。")
    check_reference(re.fullmatch(r"\d+\.?\d*", right) is not None, answer.reference)
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*", answer.prediction)]
    return Verdict(float(float(right) in numbers), abstained=not numbers)


def to_digits(text: str) -> str:
    """The text with its Chinese numerals as digits, as far as cn2an can read them."""
    import cn2an

    with warnings.catch_warnings():
        # cn2an warns of each numeral that it leaves as it is.
        warnings.simplefilter("ignore")
        return cn2an.transform(text, "cn2an")


def integer(digits: str) -> int:
    """The number that digits stand for; `int` refuses more than 4,300 of them, as loops produce."""
    return int(Decimal(digits))


def _months(text: str) -> int | None:
    for pattern, months in ((r"(\d+)个月", 1), (r"(\d+)月", 1), (r"(\d+)年", 12)):
        if found := re.search(pattern, text):
            return integer(found.group(1)) * months
    return None
