"""The one builder of printed tables: cells with a row and a head become rows of entries.

Every layout (by level, by evaluation, those of published results) prepares a frame of cells and a
`Grid`, and leaves the rest to `rows_of`.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from meltpoint.analysis.rows import LABELS
from meltpoint.tables.entries import Notes, comparable, entry, mark
from meltpoint.tables.markup import Entry
from meltpoint.tables.specs import EntrySpec

# Values of the columns that `rows_of` needs, for frames and cells that lack them.
DEFAULTS = {
    **{"status": "ok", "reason": "", "source": "published", "chain": "", "note": ""},
    **{"score_name": "", "better": "", "value": np.nan, "stderr": np.nan, "difference": np.nan},
    **{"requested": np.nan, "achieved": np.nan, "removed": np.nan},
}


@dataclass(frozen=True)
class Grid:
    """Rows and columns of a table, as columns of its cells.

    labels: columns of the cells with the rows' labels, by the printed heads of the label columns.
    heads: printed heads from left to right, by the values of the cells' column `head`.
    row: columns whose values together identify a row. Default: those of the labels.
    block: columns whose values together identify a block of rows. Default: all rows are one block.
    best: "column" to mark the best in each column of a block, "row" to mark the best in each row.
    small_once: whether only the first entry of a row keeps its small print.
    """

    labels: Mapping[str, str]
    heads: Mapping[Hashable, str]
    row: Sequence[str] = ()
    block: Sequence[str] = ()
    best: Literal["column", "row"] = "column"
    small_once: bool = False


@dataclass(frozen=True)
class Printing:
    """An `EntrySpec` for tables that no study describes; cells may have `digits` of their own."""

    digits: int = 2
    show: str = "value"
    error: bool = True
    show_achieved: bool = False
    mark_best: bool = True

    def places(self, score_name: str) -> int:
        """Digits after the point of a score."""
        return self.digits


def varying_labels(cells: pd.DataFrame) -> dict[str, str]:
    """Label columns of a study's rows: the method, and the model and settings where these vary."""
    columns = {name: f"label_{name}" for name in LABELS}
    return {n: c for n, c in columns.items() if n == "method" or len(cells[c].unique()) > 1}


def without_competition(cells: pd.DataFrame, excluded: pd.Series) -> pd.DataFrame:
    """The cells, of which the `excluded` ones (a mask) can no longer be marked as best or second."""
    better = cells["better"] if "better" in cells else pd.Series(None, cells.index, dtype=object)
    return cells.assign(better=better.mask(excluded, ""))


def cells_of(rows: Iterable[Mapping]) -> pd.DataFrame:
    """Frame of cells from dictionaries; missing keys get their default.

    A cell has its labels, its `head`, and a `value` or a `text`; it may have `stderr`, `digits`,
    `signed`, `mark`, `note`, `better` ("lower", "higher"), or `status` and `reason`.
    """
    frame = pd.DataFrame(list(rows))
    missing = {column: value for column, value in DEFAULTS.items() if column not in frame}
    filled = {column: DEFAULTS[column] for column in DEFAULTS if column in frame}
    return frame.fillna(filled).assign(**missing)


def rows_of(
    cells: pd.DataFrame, grid: Grid, spec: EntrySpec, notes: Notes
) -> list[tuple[list[str], list[Entry]]]:
    """Rows in the order of their first cells: labels and entries, with marks and letters of notes.

    spec: a `meltpoint.tables.keys.Table`, or a `Printing`.
    """
    keys = list(grid.row or grid.labels.values())
    blocks = cells.groupby(list(grid.block), sort=False) if grid.block else [((), cells)]
    rows = []
    for _, block in blocks:
        lines, values, samples = [], [], []
        for _, line in block.groupby(keys, sort=False, dropna=False):
            by_head = {cell["head"]: cell for cell in line.to_dict("records")}
            in_line = [by_head.get(head) for head in grid.heads]
            labels = [str(line[column].iloc[0]) for column in grid.labels.values()]
            entries = [entry(cell, spec, notes) for cell in in_line]
            for repeated in [e for e in entries if e.small][1:] if grid.small_once else []:
                repeated.small = ""
            lines.append((labels, entries))
            values.append([comparable(cell, spec) for cell in in_line])
            samples.append([(cell or {}).get("sample") for cell in in_line])
        if spec.mark_best and grid.best == "column":
            mark(lines, values, samples)
        elif spec.mark_best:
            mark_rows(lines, values)
        rows += lines
    return rows


def mark_rows(lines: list, values: list[list[float | None]]) -> None:
    """Marks the best and the second entry of each row, in place."""
    columns = [([], list(column)) for column in zip(*(e for _, e in lines), strict=True)]
    mark(columns, list(map(list, zip(*values, strict=True))))
