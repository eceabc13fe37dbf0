"""A table of several evaluations: rows are methods at their levels, columns the evaluations."""

import pandas as pd

from meltpoint.analysis.levels import level_label
from meltpoint.analysis.published_match import beside
from meltpoint.analysis.quantities import Quantity, perplexities, quantity
from meltpoint.analysis.rows import LABELS, SHOWN
from meltpoint.tables.entries import Notes, against, comparable, entry, mark
from meltpoint.tables.markup import Entry

NUMBERS = ("value", "stderr", "difference", "difference_stderr")
ADDED = ["published", "difference"]


def lay_out(cells: pd.DataFrame, spec, notes: Notes, published: pd.DataFrame | None):
    """The names of the label columns, the heads of the others, and the rows: dense, then as swept.

    Each column has its own unit, digits and direction of what is best; it is marked per model, dense
    left out. What is `published` of `spec.beside` stands right of the perplexity, with the difference.
    """
    quantities = {name: quantity(cells[cells["score_name"] == name]) for name in spec.evaluations}
    shown = scaled(cells, quantities)
    if spec.show == "difference":
        shown = shown[shown["chain"] != "dense"]
    compressed = shown[shown["chain"] != "dense"]
    labels = [x for x in LABELS if x == "method" or len(compressed[SHOWN.get(x, x)].unique()) > 1]
    compares = perplexities(cells, spec.evaluations)
    heads = heads_of(quantities, compares)
    compared = compares[0] if published is not None and compares else None
    if compared:
        shown = with_published(shown, compared, spec, published)
        place = spec.evaluations.index(compared) + 1
        heads[place:place] = ADDED
    rows = []
    for _, block in shown.groupby("model", sort=False):
        rows += block_rows(block, [*labels, "level"], spec, notes, compared)
    return [*labels, "level"], heads, rows


def scaled(cells: pd.DataFrame, quantities: dict[str, Quantity]) -> pd.DataFrame:
    """The cells in the units that are printed."""
    factors = cells["score_name"].map({name: q.factor for name, q in quantities.items()})
    return cells.assign(**{column: cells[column] / factors for column in NUMBERS})


def heads_of(quantities: dict[str, Quantity], compares: list[str]) -> list[str]:
    """What is measured; which evaluation it is where that is not plain: of a perplexity never."""
    printed = list(map(str, quantities.values()))
    return [
        f"{what}, {name}" if name in compares or printed.count(what) > 1 else what
        for name, what in zip(quantities, printed, strict=True)
    ]


def with_published(cells: pd.DataFrame, name: str, spec, published: pd.DataFrame):
    """The cells, those of an evaluation with what is published as `theirs`, None for nothing."""
    theirs = pd.Series(None, index=cells.index, dtype=object)
    own = cells[cells["score_name"] == name]
    for _, method in own.groupby(LABELS, sort=False):
        found = beside(method, spec, published)
        theirs[method.index] = [found.get(level) for level in method["level"]]
    return cells.assign(theirs=theirs)


def block_rows(block: pd.DataFrame, labels: list[str], spec, notes: Notes, compared: str | None):
    """The rows of one model, marked."""
    rows, values = [], []
    for _, cells in block.groupby([*LABELS, "level"], sort=False):
        entries, comparables = row_of(cells, spec, notes, compared)
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


def row_of(cells: pd.DataFrame, spec, notes: Notes, compared: str | None):
    """The printed cells of a row, and what competes of each; its achieved sparsity is said once.

    Right of the evaluation that is `compared` stands what is published of it.
    """
    by_name = {cell["score_name"]: cell for cell in cells.to_dict("records")}
    entries, values = [], []
    for name in spec.evaluations:
        cell = by_name.get(name)
        competes = cell is not None and cell["chain"] != "dense"
        entries.append(entry(cell, spec, notes))
        values.append(comparable(cell, spec) if competes else None)
        if name == compared:
            theirs = cell["theirs"] if cell is not None else None
            added = against(cell, theirs, spec.places(name))
            entries += [Entry("")] * len(ADDED) if theirs is None else added
            values += [None] * len(ADDED)
    for repeated in [printed for printed in entries if printed.small][1:]:
        repeated.small = ""
    return entries, values
