"""A table of several evaluations: rows are methods at their levels, columns the evaluations."""

from collections.abc import Collection

import pandas as pd

from meltpoint.analysis.published_match import published_values
from meltpoint.analysis.quantities import Quantity, perplexities, quantity
from meltpoint.analysis.rows import LABELS
from meltpoint.tables.entries import against
from meltpoint.tables.grid import Grid, varying_labels, without_competition
from meltpoint.tables.specs import TableSpec

NUMBERS = ("value", "stderr", "difference", "difference_stderr")
# Columns that published values add behind the column of a score. They are no names of scores.
ADDED = ("published", "difference")


def lay_out(
    cells: pd.DataFrame, spec: TableSpec, published: pd.DataFrame | None
) -> tuple[pd.DataFrame, Grid]:
    """Cells with their heads, and the grid: dense first, then rows in the order of the sweep.

    Each column has its own unit, digits and better direction. The best cells of each model are marked,
    without dense. The published value and the difference from it are right of the perplexity, and
    right of other scores with a published column.
    """
    quantities = {name: quantity(cells[cells["score_name"] == name]) for name in spec.evaluations}
    cells = in_units(cells, quantities)
    if spec.show == "difference":
        cells = cells[cells["chain"] != "dense"]
    dense = cells["chain"] == "dense"
    labels = varying_labels(cells[~dense]) | {"level": "label_level"}
    cells = without_competition(cells, dense).assign(head=cells["score_name"])
    compares = perplexities(cells, spec.evaluations)
    heads = heads_of(quantities, compares)
    if published is not None and compares:
        names = [compares[0], *spec.published_columns]
        added = [published_cells(cells, name, spec, published) for name in names]
        cells = pd.concat([cells, *added])
        heads = with_published(heads, names)
    return cells, Grid(labels, heads, [*LABELS, "level"], ["model"], small_once=True)


def with_published(heads: dict, names: Collection[str]) -> dict:
    """The heads by column, with heads of published values and differences behind the given scores."""
    parts = (
        {name: head} | ({(name, added): added for added in ADDED} if name in names else {})
        for name, head in heads.items()
    )
    return {key: head for part in parts for key, head in part.items()}


def in_units(cells: pd.DataFrame, quantities: dict[str, Quantity]) -> pd.DataFrame:
    """The cells with their numbers divided by each score's factor: the printed units."""
    factors = cells["score_name"].map({name: q.factor for name, q in quantities.items()})
    return cells.assign(**{column: cells[column] / factors for column in NUMBERS})


def heads_of(quantities: dict[str, Quantity], compares: list[str]) -> dict[str, str]:
    """Heads by score: the quantity, followed by the score's name if two scores share a quantity.

    The name always follows a perplexity, which depends on the text and the window.
    """
    printed = list(map(str, quantities.values()))
    return {
        name: f"{words}, {name}" if name in compares or printed.count(words) > 1 else words
        for name, words in zip(quantities, printed, strict=True)
    }


def published_cells(
    cells: pd.DataFrame, name: str, spec: TableSpec, published: pd.DataFrame
) -> pd.DataFrame:
    """Cells with the published value of a score and the difference from it, blank without a value."""
    added, published = [], published[published["compared"] == name]
    for names, row in cells.groupby(LABELS, sort=False):
        scored = row[row["score_name"] == name]
        values = published_values(scored, spec, published) if len(scored) else {}
        by_level = {cell["level"]: cell for cell in scored.to_dict("records")}
        for level in row["level"].unique():
            texts = ("", "")
            if level in by_level and level in values:
                texts = against(by_level[level], values[level], spec.places(name))
            place = dict(zip(LABELS, names, strict=True)) | {"level": level}
            added += [
                place | {"head": (name, head), "text": text}
                for head, text in zip(ADDED, texts, strict=True)
            ]
    return pd.DataFrame(added)
