"""A table of the page: its cells and what a reader's sorting goes by."""

import csv
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# A number that a cell begins with: alone, or before its error, its unit or its sign for per cent.
NUMBER = re.compile(r"([+\-−]?(?:\d[\d,]*)?\.?\d+(?:[eE][+-]?\d+)?)(?=$|\s*(?:±|%|\())")
# Characters from which on a cell of words is broken into lines, and into longer ones.
LONG, LONGER = 48, 150
UNDEFINED = {"", "-", "–", "—", "nan", "inf", "-inf", "∞", "N/A"}


@dataclass(frozen=True)
class Grid:
    """Heads, rows of cells in Markdown, and which columns are flush right."""

    heads: list[str]
    rows: list[list[str]]
    right: list[bool]


def to_html(grid: Grid, inline: Callable[[str], str], plain: Callable[[str], str]) -> str:
    """A table in a box that scrolls by itself; `data-v` is what a cell is sorted by.

    inline: a cell's markup as HTML; plain: its value as text.
    """
    sides = [' class="r"' if right else "" for right in grid.right]
    heads = "".join(
        f'<th scope="col"{side}>{inline(head)}</th>'
        for head, side in zip(grid.heads, sides, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(
            f"<td{side or _wrapped(plain(cell))}{_sort_key(plain(cell))}>{inline(cell)}</td>"
            for cell, side in zip(row, sides, strict=False)
        )
        + "</tr>"
        for row in grid.rows
    )
    return (
        '<div class="scroll" tabindex="0" role="group">'
        f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )


def _wrapped(text: str) -> str:
    if len(text) <= LONG:
        return ""
    return ' class="long"' if len(text) <= LONGER else ' class="longer"'


def _sort_key(text: str) -> str:
    """The attribute: a number, empty for what comes last; none where the text itself is compared."""
    value = number(text)
    if value is not None:
        return f' data-v="{value!r}"'
    return ' data-v=""' if text in UNDEFINED else ""


def number(text: str) -> float | None:
    """The finite number that a cell shows; None where it shows none."""
    found = NUMBER.match(text)
    value = float(found[1].replace(",", "").replace("−", "-")) if found else math.nan
    return value if math.isfinite(value) else None


def read_csv(path: Path) -> Grid:
    """A CSV file as a table: numbers to five digits, columns of numbers flush right."""
    with path.open(newline="", encoding="utf-8") as file:
        heads, *rows = csv.reader(file)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(heads)
    right = [are_numbers(column) for column in columns]
    shown = [
        [_shorten(cell) if r else verbatim(cell) for cell, r in zip(row, right, strict=True)]
        for row in rows
    ]
    return Grid([verbatim(head) for head in heads], shown, right)


def are_numbers(column: Iterable[str]) -> bool:
    """Whether all of a column's cells that are defined show a number."""
    numbers = [number(cell) is not None for cell in column if cell not in UNDEFINED]
    return bool(numbers) and all(numbers)


def _shorten(cell: str) -> str:
    """A number to five digits; integers, and what is no number, as they are."""
    value = number(cell)
    if value is None or re.fullmatch(r"-?\d+", cell):
        return verbatim(cell)
    return f"{value:.5g}"


def verbatim(text: str) -> str:
    """Text in which Markdown finds no markup."""
    return re.sub(r"([\\|*_<>`\[\]#])", r"\\\1", text)
