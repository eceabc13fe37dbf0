"""Answers that are numbers: prison terms and sums of money."""

from __future__ import annotations

import math
import re
import warnings
from decimal import Decimal

from meltpoint.evaluations._lawbench.items import Answer, Verdict, check_reference

# Scale of the score: the logarithm of 18 years in months. It is also the distance of an answer without
# a term, whose score is therefore 0.
LARGEST = math.log(216)


def prison_term(answer: Answer) -> Verdict | None:
    """Score of a prison term in months: 1 - |ln(right + 1) - ln(predicted + 1)| / ln 216, not clipped.

    The predicted term is the first number before 个月. Without one it is the first number before 月,
    even the month of a date, and without that 12 times the first number before 年. None for a sentence
    of death or for life. Raises MeltpointError for a reference without a number.
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
    """Score of a sum of money: 1 if it is among the numbers in digits in the text, else 0.

    Raises MeltpointError for a reference in another form.
    """
    right = answer.reference.removeprefix("上文涉及到的犯罪金额:").removesuffix("元。")
    check_reference(re.fullmatch(r"\d+\.?\d*", right) is not None, answer.reference)
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*", answer.prediction)]
    return Verdict(float(float(right) in numbers), abstained=not numbers)


def to_digits(text: str) -> str:
    """The text with digits instead of the Chinese numerals that cn2an can read."""
    import cn2an

    with warnings.catch_warnings():
        # cn2an warns about each numeral that it cannot read.
        warnings.simplefilter("ignore")
        return cn2an.transform(text, "cn2an")


def integer(digits: str) -> int:
    """The number that digits stand for, of any length.

    `int` refuses more than 4,300 digits, which an answer that loops can have.
    """
    return int(Decimal(digits))


def _months(text: str) -> int | None:
    for pattern, months in ((r"(\d+)个月", 1), (r"(\d+)月", 1), (r"(\d+)年", 12)):
        if found := re.search(pattern, text):
            return integer(found.group(1)) * months
    return None
