"""Tables as CSV for machines, Markdown and LaTeX (booktabs) for readers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from meltpoint.analysis import samples
from meltpoint.analysis.frame import (
    AXES,
    DEFAULT_AXIS,
    read_cells,
    read_published,
    scores_named,
)
from meltpoint.analysis.quantities import perplexities
from meltpoint.analysis.rows import LABELS, average_over, row_names
from meltpoint.data.published import PERPLEXITY
from meltpoint.tables import (
    by_evaluation,
    by_level,
    changes,
    equivalence,
    families,
    keys,
    orders,
    pairs,
    strategies,
    tasks,
)
from meltpoint.tables.entries import Notes
from meltpoint.tables.grid import rows_of
from meltpoint.tables.labels import arrange, with_labels
from meltpoint.tables.markup import Entry, Table, to_csv, to_latex, to_markdown
from meltpoint.tables.specs import TableSpec

__all__ = ["Table", "build", "from_cells", "to_csv", "to_latex", "to_markdown"]

CSV_COLUMNS = [
    *(*LABELS, "level", "evaluation", "score", "unit", "value", "stderr", "difference"),
    *("difference_stderr", "requested", "achieved", "status", "reason", "source"),
]
LAYOUTS = {"level": by_level.lay_out, "evaluation": by_evaluation.lay_out}
COMPARISONS = {
    "pairs": pairs.build,
    "families": families.build,
    "tasks": tasks.build,
    "orders": orders.build,
    "strategies": strategies.build,
    "changes": changes.build,
}
SOURCES = "resources/published/README.md"
TIED = (
    "bold: the best, and what cannot be told apart from it (≈: paired test over {} at 5 %, Holm "
    "over the column)"
)
BEST, SECOND = "bold: the best", "underlined: the second"
# What the small numbers are, by the axis of a chain's last step.
ACHIEVED = {
    "zeros": "the achieved sparsity of the decoder's linear layers",
    "parameters": "the fraction of the dense decoder's parameters that is gone",
}


def from_cells(
    paths: Sequence[Path], steps: Mapping[str, Mapping[str, str]], section: keys.Table
) -> Table:
    """The table of a study from its cells.

    paths: the cells' files, in the order of the rows. steps: columns of the tidy frame for each chain.
    Raises MeltpointError if a cell, or a file beside it, cannot be read.
    """
    frame, published = read_cells(paths, steps), None
    if section.needs_samples:
        frame = samples.with_samples(frame, paths)
    if section.published and section.layout not in COMPARISONS:
        columns = {
            perplexities(frame, section.evaluations)[0]: PERPLEXITY,
            **section.published_columns,
        }
        numbers = [read_published(section.published, *column) for column in columns.items()]
        published = pd.concat(numbers, ignore_index=True)
    if published is not None and not section.compares:
        frame, published = pd.concat([frame, published]), None
    return build(frame, section, published)


def build(frame: pd.DataFrame, spec: TableSpec, published: pd.DataFrame | None = None) -> Table:
    """The table of `spec` (`meltpoint.tables.keys.Table`) from a tidy frame.

    Rows are methods, split by settings and by model if these vary. Columns are levels in their natural
    order behind the dense value, or scores. The best and the second are marked for each model and
    column, after rounding. Rows that `spec` compares with `published` cells also have the published
    number and the difference. A `layout` of `COMPARISONS`, or `equivalence`, gives other rows, mostly
    comparisons; for these the frame holds samples (`meltpoint.analysis.samples`).
    """
    if spec.layout in COMPARISONS:
        return COMPARISONS[spec.layout](frame, spec)
    if spec.equivalence is not None:
        return equivalence.build(frame, spec)
    scores = [scores_named(frame, name).assign(score_name=name) for name in spec.evaluations]
    cells = pd.concat(scores, ignore_index=True)
    if spec.average_over:
        cells = average_over(cells, spec.average_over)
    cells = arrange(row_names(cells, spec.labels), spec.order)
    notes = Notes()
    laid_out, grid = LAYOUTS[spec.columns](with_labels(cells), spec, published)
    rows = rows_of(laid_out, grid, spec, notes)
    labels, heads = list(grid.labels), list(grid.heads.values())
    sentences = remarks(rows, spec, cells)
    return Table(spec.caption, labels, heads, rows, notes.by_letter, sentences, csv_cells(cells))


def remarks(
    rows: list[tuple[list[str], list[Entry]]], spec: TableSpec, cells: pd.DataFrame
) -> list[str]:
    """Sentences on the whole table, which are printed below it."""
    sentences = []
    if any(printed.small for _, entries in rows for printed in entries):
        kinds = cells.loc[cells["chain"] != "dense", "kind"]
        axes = dict.fromkeys(AXES.get(kind, DEFAULT_AXIS) for kind in kinds)
        sentences.append(f"small: {', or '.join(ACHIEVED[axis] for axis in axes)}")
    sentences += marks(rows, cells)
    if spec.average_over:
        deviation = "; ±: standard deviation (dense: its standard error)" if spec.error else ""
        sentences.append(f"means over {spec.average_over}{deviation}")
    if spec.compares:
        sentences.append(f"published: {spec.published} (its model, text and window: {SOURCES})")
    return [*sentences, *spec.footnotes]


def marks(rows: list[tuple[list[str], list[Entry]]], cells: pd.DataFrame) -> list[str]:
    """A list of one sentence that explains bold and underlined numbers; empty without any."""
    printed = [entry for _, entries in rows for entry in entries]
    tied = any(entry.tied for entry in printed)
    best = TIED.format(samples.units_of(cells["sample"])) if tied else BEST
    named = {"best": best, "second": SECOND}
    said = [words for mark, words in named.items() if any(entry.mark == mark for entry in printed)]
    return ["; ".join(said)] if said else []


def csv_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with the columns of the CSV file, at full precision.

    A NaN that was measured becomes "nan", so that it differs from a missing value.
    """
    extra = [column for column in ("count",) if column in cells]
    undefined = (cells["status"] == "ok") & cells["value"].isna()
    value = cells["value"].astype(object).where(~undefined, "nan")
    return cells.assign(value=value)[[*CSV_COLUMNS, *extra]]
