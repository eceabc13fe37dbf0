"""A table of decoding strategies: a row for each strategy, a column for each score."""

import pandas as pd

from meltpoint.analysis.quantities import quantity
from meltpoint.analysis.rows import row_names
from meltpoint.analysis.strategies import (
    PASSED,
    published_strategies,
    published_value,
    scores_of_strategies,
)
from meltpoint.chain import DENSE
from meltpoint.tables.entries import Notes
from meltpoint.tables.grid import Grid, rows_of, varying_labels
from meltpoint.tables.labels import arrange, with_labels
from meltpoint.tables.markup import Table
from meltpoint.tables.specs import TableSpec

# The key and the head of the column of published values.
PUBLISHED, HEAD = "published", "published pass@1"
# Columns that identify a block of rows, and the other columns of the CSV file.
CHAIN = ["model", "chain"]
CSV_COLUMNS = [
    *("evaluation", "score", "unit", "value", "stderr", "difference", "difference_stderr"),
    *("status", "reason"),
]


def build(frame: pd.DataFrame, spec: TableSpec) -> Table:
    """The table of `spec` from a tidy frame: strategies as blocks of a model and a chain.

    Deterministic strategies come first. The best of each column is marked within its block. Published
    values of the dense model have a column right of the first column of pass@1.
    """
    parts = [scores_of_strategies(frame, name).assign(score_name=name) for name in spec.evaluations]
    heads = heads_of(dict(zip(spec.evaluations, parts, strict=True)))
    cells = laid_out(pd.concat(parts), spec)
    shown = cells
    if spec.published is not None:
        published = published_strategies(spec.published)
        name = next(n for n, part in zip(spec.evaluations, parts, strict=True) if is_passed(part))
        shown = pd.concat([cells, published_cells(cells, name, spec, published)])
        heads = with_published(heads, name)
    notes, labels = Notes(), labels_of(cells)
    grid = Grid(labels, heads, [*CHAIN, "strategy"], CHAIN)
    rows = rows_of(shown, grid, spec, notes)
    sentences = [*remarks(spec), *spec.footnotes]
    csv = cells[[*CHAIN, "strategy", *CSV_COLUMNS]]
    return Table(
        spec.caption, list(labels), list(heads.values()), rows, notes.by_letter, sentences, csv
    )


def laid_out(cells: pd.DataFrame, spec: TableSpec) -> pd.DataFrame:
    """The cells in the order of the rows, deterministic strategies first, with their labels."""
    cells = row_names(cells.sort_values("stochastic", kind="stable"), spec.labels)
    cells = with_labels(arrange(cells, spec.order))
    return cells.assign(
        head=cells["score_name"],
        label_strategy=[spec.labels.get(each, each) for each in cells["strategy"]],
    )


def with_published(heads: dict[str, str], name: str) -> dict[str, str]:
    """The heads with one more, for published values, right of the score's own."""
    place = list(heads).index(name) + 1
    items = list(heads.items())
    return dict([*items[:place], (PUBLISHED, HEAD), *items[place:]])


def heads_of(parts: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Heads by score: the quantity, followed by the evaluation if there are several."""
    several = len({part["evaluation"].iloc[0] for part in parts.values()}) > 1
    return {
        name: f"{quantity(part)}, {part['evaluation'].iloc[0]}" if several else str(quantity(part))
        for name, part in parts.items()
    }


def labels_of(cells: pd.DataFrame) -> dict[str, str]:
    """Columns of the rows' labels by their heads: model and chain where they vary, and the strategy."""
    strategy = {"strategy": "label_strategy"}
    if set(cells["chain"]) == {DENSE}:
        several = len(cells["model"].unique()) > 1
        return {**({"model": "label_model"} if several else {}), **strategy}
    return varying_labels(cells) | {"level": "label_level"} | strategy


def is_passed(part: pd.DataFrame) -> bool:
    """True for the score that a published table of strategies holds."""
    return bool((part["score"] == PASSED).any())


def published_cells(
    cells: pd.DataFrame, name: str, spec: TableSpec, published: pd.DataFrame
) -> pd.DataFrame:
    """Cells with the published value of each row; blank for a compressed model or without a value."""
    rows = cells[cells["score_name"] == name].copy()
    texts = []
    for row in rows.to_dict("records"):
        model = spec.published_models.get(row["model"]) if row["chain"] == DENSE else None
        value = published_value(published, model, row["strategy"])
        texts.append("" if value is None else f"{value:.{spec.places(name)}f}")
    return rows.assign(head=PUBLISHED, text=texts, note="")


def remarks(spec: TableSpec) -> list[str]:
    """A list of one sentence that names the published table; empty without one."""
    if spec.published is None:
        return []
    return [f"published: {spec.published} (its models and prompts: resources/published/README.md)"]
