"""A table of several evaluations: rows are methods at their levels, columns the evaluations."""

import numpy as np
import pandas as pd

from meltpoint.analysis.entries import Notes, comparable, entry, mark
from meltpoint.analysis.levels import level_label
from meltpoint.analysis.markup import Entry
from meltpoint.analysis.matching import beside
from meltpoint.analysis.rows import LABELS, SHOWN
from meltpoint.analysis.units import Quantity, quantity

NUMBERS = ("value", "stderr", "difference", "difference_stderr")
ADDED = ["published", "difference"]


def lay_out(cells: pd.DataFrame, spec, notes: Notes, published: pd.DataFrame | None):
    """The names of the label columns, the heads of the others, and the rows: dense, then as swept.

    Each column has its own unit, digits and direction of what is best; it is marked per model, dense
    left out. What is `published` of `spec.beside` stands right of the perplexity, with the difference.
    """
    quantities = {name: quantity(cells[cells["evaluation"] == name]) for name in spec.evaluations}
    shown = scaled(cells, quantities)
    if spec.show == "difference":
        shown = shown[shown["chain"] != "dense"]
    compared = shown[shown["chain"] != "dense"]
    labels = [x for x in LABELS if x == "method" or len(compared[SHOWN.get(x, x)].unique()) > 1]
    heads = heads_of(quantities)
    if published is not None:
        shown = with_published(shown, spec, published)
        place = [q.words for q in quantities.values()].index("perplexity") + 1
        heads[place:place] = ADDED
    rows = []
    for _, block in shown.groupby("model", sort=False):
        rows += block_rows(block, [*labels, "level"], spec, notes)
    return [*labels, "level"], heads, rows


def scaled(cells: pd.DataFrame, quantities: dict[str, Quantity]) -> pd.DataFrame:
    """The cells in the units that are printed."""
    factors = cells["evaluation"].map({name: q.factor for name, q in quantities.items()})
    return cells.assign(**{column: cells[column] / factors for column in NUMBERS})


def heads_of(quantities: dict[str, Quantity]) -> list[str]:
    """What is measured; which evaluation it is where that is not plain."""
    printed = list(map(str, quantities.values()))
    return [
        f"{what}, {name}" if what == "perplexity" or printed.count(what) > 1 else what
        for name, what in zip(quantities, printed, strict=True)
    ]


def with_published(cells: pd.DataFrame, spec, published: pd.DataFrame) -> pd.DataFrame:
    """The cells of perplexity with what is published of them as `theirs`, NaN where nothing is."""
    names = cells.loc[cells["metric"] == "perplexity", "evaluation"].unique()
    theirs = pd.Series(np.nan, index=cells.index)
    own = cells[cells["evaluation"].isin(names)]
    for _, method in own.groupby(LABELS, sort=False):
        theirs[method.index] = method["level"].map(beside(method, spec.beside, published))
    return cells.assign(theirs=theirs, compared=cells["evaluation"].isin(names))


def block_rows(block: pd.DataFrame, labels: list[str], spec, notes: Notes):
    """The rows of one model, marked."""
    rows, values = [], []
    for _, cells in block.groupby([*LABELS, "level"], sort=False):
        entries, comparables = row_of(cells, spec, notes)
        rows.append((names_of(cells.iloc[0], labels), entries))
        values.append(comparables)
    if spec.mark:
        mark(rows, values)
    return rows


def names_of(first: pd.Series, labels: list[str]) -> list[str]:
    """A row's labels; dense has no settings and no level."""
    dense = first["chain"] == "dense"
    words = {"level": "" if dense else level_label(first["level"])}
    words["settings"] = "" if dense else first["row_settings"] or "default"
    return [words.get(x, first[SHOWN.get(x, x)]) for x in labels]


def row_of(cells: pd.DataFrame, spec, notes: Notes):
    """The printed cells of a row, and what competes of each; its achieved sparsity is said once."""
    by_name = {cell["evaluation"]: cell for cell in cells.to_dict("records")}
    entries, values = [], []
    for name in spec.evaluations:
        cell = by_name.get(name)
        competes = cell is not None and cell["chain"] != "dense"
        entries.append(entry(cell, spec, notes))
        values.append(comparable(cell, spec) if competes else None)
        if cell is not None and cell.get("compared"):
            entries += published_entries(cell, spec)
            values += [None] * len(ADDED)
    for repeated in [printed for printed in entries if printed.small][1:]:
        repeated.small = ""
    return entries, values


def published_entries(cell: dict, spec) -> list[Entry]:
    """What is published, and ours above it."""
    digits, theirs = spec.places(cell["evaluation"]), cell["theirs"]
    if np.isnan(theirs):
        return [Entry(""), Entry("")]
    above = cell["value"] - theirs
    known = cell["status"] == "ok" and np.isfinite(above)
    return [Entry(f"{theirs:.{digits}f}"), Entry(f"{above:+.{digits}f}" if known else "-")]
