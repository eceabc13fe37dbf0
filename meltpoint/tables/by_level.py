"""A table of one evaluation: rows are methods, columns their levels."""

import pandas as pd

from meltpoint.analysis.levels import level_key, level_label
from meltpoint.analysis.published_match import beside
from meltpoint.analysis.rows import LABELS, SHOWN
from meltpoint.tables.entries import Notes, against, comparable, entry, mark
from meltpoint.tables.markup import Entry


def lay_out(cells: pd.DataFrame, spec, notes: Notes, published: pd.DataFrame | None):
    """The names of the label columns, the heads of the others, and the rows, marked per model.

    Of the `published` cells those that `spec.beside` names stand under the rows that it names, with
    the difference.
    """
    pruned = cells[cells["chain"] != "dense"]
    levels = sorted(pruned["level"].unique(), key=level_key)
    labels = [x for x in LABELS if x == "method" or len(pruned[SHOWN.get(x, x)].unique()) > 1]
    rows = []
    for _, block in cells.groupby("model", sort=False):
        rows += block_rows(block, levels, labels, spec, notes, published)
    heads = [*(["dense"] if shows_dense(cells, spec) else []), *map(level_label, levels)]
    return labels, heads, rows


def shows_dense(cells: pd.DataFrame, spec) -> bool:
    return spec.show == "value" and bool((cells["chain"] == "dense").any())


def block_rows(
    block: pd.DataFrame, levels: list[str], labels: list[str], spec, notes: Notes, published
):
    """The rows of one model, marked, each with what is published of it."""
    dense = block[block["chain"] == "dense"]
    rows, values, below = [], [], []
    for _, cells in block[block["chain"] != "dense"].groupby(LABELS, sort=False):
        by_level = {cell["level"]: cell for cell in cells.to_dict("records")}
        entries = [entry(by_level.get(level), spec, notes) for level in levels]
        values.append([comparable(by_level.get(level), spec) for level in levels])
        first = cells.iloc[0]
        rows.append(([first[SHOWN.get(x, x)] or "default" for x in labels], entries))
        theirs = beside(cells, spec, published) if published is not None else {}
        below.append(lines_below(by_level, levels, theirs, labels, spec) if theirs else [])
    if spec.mark:
        mark(rows, values)
    head = [entry(dense.iloc[0].to_dict(), spec, notes)] if shows_dense(block, spec) else []
    blank = [Entry("")] * len(head)
    return [
        line
        for (names, entries), under in zip(rows, below, strict=True)
        for line in ((names, [*head, *entries]), *((n, [*blank, *e]) for n, e in under))
    ]


def lines_below(by_level: dict, levels: list[str], theirs: dict, labels: list[str], spec):
    """Two lines under a row: what is published of it, by level, and ours above it."""
    digits = spec.places(spec.value)
    found = [against(by_level.get(x), theirs.get(x), digits) for x in levels]
    printed, above = map(list, zip(*found, strict=True))
    place = labels.index("method")
    first = next(iter(by_level.values()))
    names = [["" for _ in labels] for _ in range(2)]
    method = spec.beside.get(first["row"]) or spec.beside[first["model"]]
    names[0][place], names[1][place] = f"{method}, published", "difference"
    return [(names[0], printed), (names[1], above)]
