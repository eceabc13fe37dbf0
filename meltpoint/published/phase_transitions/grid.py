"""A published table as a grid of cells: its rows and columns are whatever two things it compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from meltpoint.tables.entries import Notes, mark
from meltpoint.tables.markup import Entry, Table


@dataclass(frozen=True)
class Grid:
    """How cells are laid out.

    labels: the columns of the cells that name a row, the outer one first; rows that share it are a
    block. heads: the printed columns in their order, `column` what they are. across: whether the
    cells of a row compete for the marks, or those of a column within a block.
    """

    labels: Sequence[str]
    heads: Sequence[str]
    column: str
    across: bool = False
    caption: str = ""
    remarks: Sequence[str] = field(default_factory=list)


def build(cells: pd.DataFrame, grid: Grid, doubts: Mapping[tuple, str]) -> Table:
    """The table of cells with the columns of `grid.labels`, and with

    head, value, error (NaN: none), digits, better ("low", "high", or "" where nothing competes).
    doubts: footnotes by the labels and the head of their cell. The table's `cells` are in the
    printed order, with their mark and footnote.
    """
    notes = Notes()
    named = {(*key, row["head"]): row for key, row in keyed(cells, grid.labels)}
    rows = []
    for _, block in cells.groupby(grid.labels[0], sort=False):
        names = list(dict.fromkeys(key for key, _ in keyed(block, grid.labels)))
        found = [[named.get((*name, head)) for head in grid.heads] for name in names]
        entries = [[entry(cell, grid.labels, doubts, notes) for cell in row] for row in found]
        compete(entries, [[standing(cell) for cell in row] for row in found], grid.across)
        rows += list(zip(map(list, names), entries, strict=True))
    labels, heads = list(grid.labels), list(grid.heads)
    table = Table(grid.caption, labels, heads, rows, notes.by_letter, list(grid.remarks), cells)
    return annotate(table, cells.rename(columns={"head": grid.column}), grid.column, doubts)


def keyed(cells: pd.DataFrame, labels: Sequence[str]) -> list[tuple[tuple, dict]]:
    return [(tuple(row[x] for x in labels), row) for row in cells.to_dict("records")]


def entry(cell: dict | None, labels: Sequence[str], doubts: Mapping, notes: Notes) -> Entry:
    """A cell as printed, with the footnote of its doubt."""
    if cell is None:
        return Entry("-")
    digits = cell["digits"]
    error = "" if np.isnan(cell["error"]) else f"{cell['error']:.{digits}f}"
    doubt = doubts.get((*(cell[x] for x in labels), cell["head"]))
    letters = [notes.letter(doubt)] if doubt else []
    return Entry(f"{cell['value']:.{digits}f}", error, notes=letters)


def standing(cell: dict | None) -> float | None:
    """What is compared, lower for better; None where the cell does not compete."""
    if cell is None or not cell["better"] or not np.isfinite(cell["value"]):
        return None
    return cell["value"] if cell["better"] == "low" else -cell["value"]


def compete(entries: list[list[Entry]], values: list[list], across: bool) -> None:
    """Marks the best and the second of each row, or of each column."""
    if across:
        entries, values = (
            [list(x) for x in zip(*entries, strict=True)],
            list(zip(*values, strict=True)),
        )
    mark([([], row) for row in entries], values)


def annotate(table: Table, cells: pd.DataFrame, column: str, doubts: Mapping[tuple, str]) -> Table:
    """The table with what is said of each cell, its mark and its note, beside its value.

    cells: with the columns `table.labels`, and one of the name `column` that holds the heads.
    """
    marks = {
        (*labels, head): printed.mark
        for labels, row in table.rows
        for head, printed in zip(table.heads, row, strict=True)
    }
    keys = list(cells[[*table.labels, column]].itertuples(index=False, name=None))
    said = cells.assign(mark=[marks[key] for key in keys], value=cells["value"].map(spell))
    said["note"] = [doubts.get(key, "") for key in keys]
    errors = {"error": "stderr"} if "error" in cells and cells["error"].notna().any() else {}
    kept = [*table.labels, column, "value", *errors, "mark", "note"]
    return replace(table, cells=said[kept].rename(columns=errors))


def spell(value: float) -> str:
    """Every digit; `nan` and `inf` are values."""
    return repr(float(value))


def digits(values: pd.Series) -> int:
    """Digits after the point that values were published with, from 2 to 4."""
    printed = values[np.isfinite(values)].map("{:.6f}".format).str.rstrip("0")
    return int(np.clip(printed.str.partition(".")[2].str.len().max(), 2, 4))
