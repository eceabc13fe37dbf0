"""Numbers that were checked, and the first that differs."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from meltpoint.errors import MeltpointError

# How far a number may be from the one in its file, relative: sums have another order elsewhere.
TOLERANCE = 1e-5
RECOMPUTED, COMPARED = "recomputed", "compared"


@dataclass
class Tally:
    """Counts of what was recomputed from kept arrays and of what was compared with the cells."""

    counts: dict[str, int] = field(default_factory=lambda: {RECOMPUTED: 0, COMPARED: 0})
    differences: list[str] = field(default_factory=list)

    def attempt(self, function: Callable[..., None], *arguments: object) -> None:
        """Calls a function that checks a part; a part that cannot be read is a difference."""
        try:
            function(*arguments)
        except MeltpointError as error:
            self.differences.append(str(error))

    def check(self, place: str, stored: object, computed: object, kind: str = RECOMPUTED) -> None:
        """Counts a value of a file, and notes it where it is not the computed one."""
        self.counts[kind] += 1
        if not same(stored, computed):
            how = "recomputed" if kind == RECOMPUTED else "by the cells"
            self.differences.append(f"{place} is {spell(stored)}, and {spell(computed)} {how}")

    def check_csv(self, place: str, stored: str, computed: str, kind: str) -> None:
        """Counts the fields of a CSV file, row by row."""
        rows, expected = (list(csv.reader(io.StringIO(text))) for text in (stored, computed))
        if not rows or rows[0] != expected[0] or len(rows) != len(expected):
            self.check(f"{place}: the shape", shape(rows), shape(expected), kind)
            return
        for number, (line, other) in enumerate(zip(rows[1:], expected[1:], strict=True), 1):
            for head, value, computed_value in zip_longest(rows[0], line, other):
                self.check(f"{place}, row {number}, {head}", value, computed_value, kind)


def shape(rows: list[list[str]]) -> str:
    """Heads and number of rows, in words."""
    return f"{len(rows) - 1} rows of {', '.join(rows[0])}" if rows else "nothing"


def same(first: object, second: object) -> bool:
    """True for equal values: numbers, or texts of numbers, within `TOLERANCE`."""
    if first == second:
        return True
    numbers = [number(value) for value in (first, second)]
    if None in numbers:
        return False
    return bool(np.isclose(*numbers, rtol=TOLERANCE, atol=1e-12, equal_nan=True))


def number(value: object) -> float | None:
    """The number that a value or a text is; None for any other."""
    try:
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None


def spell(value: object) -> str:
    """A value as the sentence of a difference says it."""
    return "nothing" if value in (None, "") else repr(value)
