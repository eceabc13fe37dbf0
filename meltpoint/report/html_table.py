"""HTML tables of the page, and the values by which a reader can sort them."""

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

# A number at the beginning of a cell: alone, or before an error, a per cent sign or a sign of a tie.
NUMBER = re.compile(r"([+\-−]?(?:\d[\d,]*)?\.?\d+(?:[eE][+-]?\d+)?)(?=$|\s*(?:±|%|≈|\())")
# Numbers of characters above which a cell of words is broken into lines, and into longer lines.
LONG, LONGER = 48, 150
UNDEFINED = {"", "-", "–", "—", "nan", "inf", "-inf", "∞", "N/A"}


OPEN = '<div class="scroll" tabindex="0" role="group"><table>'
CLOSE = "</table></div>"


@dataclass(frozen=True)
class Grid:
    """A table of plain texts; `right` is true for each column that is flush right."""

    heads: list[str]
    rows: list[list[str]]
    right: list[bool]


def to_html(grid: Grid) -> str:
    """HTML of a table in a box that scrolls by itself."""
    sides = [' class="r"' if right else "" for right in grid.right]
    heads = "".join(
        f'<th scope="col"{side}>{escape(head, quote=False)}</th>'
        for head, side in zip(grid.heads, sides, strict=True)
    )
    rows = "\n".join(f"<tr>{''.join(map(_cell, row, grid.right))}</tr>" for row in grid.rows)
    return f"{OPEN}<thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody>{CLOSE}"


def _cell(text: str, right: bool) -> str:
    pairs = "".join(f' {name}="{value}"' for name, value in attributes(text, right).items())
    return f"<td{pairs}>{escape(text, quote=False)}</td>"


def attributes(text: str, right: bool) -> dict[str, str]:
    """Attributes of a cell that shows a text: its class, and `data-v`, its value for sorting.

    `data-v` is a number, or empty for a cell that comes last. Without it the text itself is compared.
    """
    length = "longer" if len(text) > LONGER else "long" if len(text) > LONG else ""
    found = {"class": "r" if right else length}
    value = number(text)
    if value is not None or text in UNDEFINED:
        found["data-v"] = "" if value is None else repr(value)
    return {name: words for name, words in found.items() if words or name == "data-v"}


def number(text: str) -> float | None:
    """The finite number at the beginning of a cell's text; None if there is none."""
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
        [_shorten(cell) if r else cell for cell, r in zip(row, right, strict=True)] for row in rows
    ]
    return Grid(heads, shown, right)


def are_numbers(column: Iterable[str]) -> bool:
    """True for a column whose defined cells all show a number."""
    numbers = [number(cell) is not None for cell in column if cell not in UNDEFINED]
    return bool(numbers) and all(numbers)


def _shorten(cell: str) -> str:
    """A number rounded to five significant digits; integers and other texts unchanged."""
    value = number(cell)
    if value is None or re.fullmatch(r"-?\d+", cell):
        return cell
    return f"{value:.5g}"
