"""Published tables, printed by the layouts in resources/published/*.yaml."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.analysis.levels import level_label
from meltpoint.data.published.frames import read
from meltpoint.published.specs import Layout, Measure, StudySpec, Texts
from meltpoint.tables.entries import Notes
from meltpoint.tables.grid import Grid, Printing, cells_of, rows_of
from meltpoint.tables.markup import Table, save


def save_tables(study: StudySpec, folder: Path) -> None:
    """Writes each table that has a layout as {folder}/{name}.csv, .md and .tex."""
    for name, texts in study.tables.items():
        if texts.layout:
            save(published_table(texts), folder / name)


def published_table(texts: Texts) -> Table:
    """The table of a layout; its CSV file holds each value with its mark and its footnote."""
    layout = texts.layout
    cells = cells_of_csv(layout, texts.notes)
    heads = layout.heads or list(dict.fromkeys(cells["head"]))
    if layout.sort_by:
        cells = cells.sort_values("sort", kind="stable")
    labels = {label: label for label in layout.rows}
    block = list(labels)[:1] if len(labels) > 1 else []
    grid = Grid(labels, {head: head for head in heads}, block=block, best=layout.best)
    table = printed(texts, cells, grid)
    return replace(table, cells=with_marks(table, cells, layout.csv_column))


def printed(
    texts: Texts, cells: pd.DataFrame, grid: Grid, csv: pd.DataFrame | None = None
) -> Table:
    """The table of cells in a grid, with its texts; `csv` is the content of its CSV file."""
    notes = Notes()
    rows = rows_of(cells, grid, Printing(), notes)
    labels, heads = list(grid.labels), list(grid.heads.values())
    csv = cells if csv is None else csv
    return Table(texts.caption, labels, heads, rows, notes.by_letter, list(texts.remarks), csv)


def cells_of_csv(layout: Layout, notes: Mapping[tuple, str]) -> pd.DataFrame:
    """Cells of a CSV file by measure: labels, `head`, value, error, digits, direction and note."""
    table = read(layout.csv)
    for column, value in layout.where.items():
        table = table[table[column] == value]
    # A perplexity may be published as nan; any other value that is NaN was not published.
    cells = [
        cell_of(row, measure, layout)
        for measure in layout.measures
        for row in table.to_dict("records")
        if measure.value == "ppl" or not np.isnan(row[measure.value])
    ]
    frame = cells_of(cells)
    keys = frame[[*layout.rows, "head"]].itertuples(index=False, name=None)
    frame["note"] = [notes.get(key, "") for key in keys]
    if frame["digits"].isna().any():
        rows = frame.groupby(list(layout.rows))["value"]
        frame["digits"] = rows.transform(published_digits)
    return frame


def cell_of(row: dict, measure: Measure, layout: Layout) -> dict:
    """One cell of a CSV row."""
    words = {column: names[row[column]] for column, names in layout.words.items()}
    words = {**row, **words, "quantity": measure.quantity}
    if "level" in row:
        words["level"] = level_label(row["level"])
    competes = all(words[column] == value for column, value in layout.competing.items())
    return {
        **{label: template.format_map(words) for label, template in layout.rows.items()},
        "head": layout.columns.format_map(words),
        "value": row[measure.value],
        "stderr": row[measure.error] if measure.error else np.nan,
        "digits": np.nan if measure.digits is None else measure.digits,
        "better": measure.better if competes else "",
        "sort": row[layout.sort_by] if layout.sort_by else 0,
    }


def published_digits(values: pd.Series) -> int:
    """Number of digits after the point in the published values, from 2 to 4."""
    texts = values[np.isfinite(values)].map("{:.6f}".format).str.rstrip("0")
    return int(np.clip(texts.str.partition(".")[2].str.len().max(), 2, 4))


def with_marks(table: Table, cells: pd.DataFrame, column: str) -> pd.DataFrame:
    """Content of the table's CSV file: labels, the head in `column`, value, error, mark and note."""
    marks = {
        (*labels, head): entry.mark
        for labels, entries in table.rows
        for head, entry in zip(table.heads, entries, strict=True)
    }
    keys = list(cells[[*table.labels, "head"]].itertuples(index=False, name=None))
    errors = ["stderr"] if cells["stderr"].notna().any() else []
    values = cells.assign(mark=[marks[key] for key in keys], value=cells["value"].map(exact))
    columns = [*table.labels, "head", "value", *errors, "mark", "note"]
    return values[columns].rename(columns={"head": column})


def exact(value: float) -> str:
    """Text of a number with all digits; `nan` and `inf` are kept."""
    return repr(float(value))
