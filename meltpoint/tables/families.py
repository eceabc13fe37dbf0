"""A table of families at equal compression: each family's best and median method, and ties."""

import numpy as np
import pandas as pd

from meltpoint.analysis.families import EQUAL, OVER, SHORT, compare_families, with_families
from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.pairs import draws_together, printed_names
from meltpoint.analysis.quantities import Quantity, quantity
from meltpoint.analysis.rows import row_names
from meltpoint.analysis.samples import units_of
from meltpoint.errors import MeltpointError, at
from meltpoint.tables.markup import Entry, Table
from meltpoint.tables.pairs import left_out_sentences
from meltpoint.tables.specs import TableSpec

# Words for the removed part of the dense decoder, by the quantity that is equal.
OF = {"removed": "weights or bits", "bytes": "bytes"}


def build(frame: pd.DataFrame, spec: TableSpec) -> Table:
    """The table of the families of `spec.source` from a tidy frame with samples.

    Raises MeltpointError if no method is near to any of the compressions.
    """
    key = f"{spec.value} of {spec.source}"
    cells = select(frame, spec)
    compared = at(key, compare_families, cells, spec.at_compressions)
    if compared.empty:
        near = " or ".join(f"{each:g}" for each in spec.at_compressions)
        raise MeltpointError(f"{key}: no method that has a value removes {near} of the decoder")
    scale, several = quantity(cells), len(cells["model"].unique()) > 1
    rows = [
        (labels_of(row, several), entries_of(row, compared, spec, scale.factor))
        for row in compared.to_dict("records")
    ]
    labels = [*(["model"] if several else []), "removed", "family"]
    sentences = [*remarks(compared, cells), *absent(compared, spec)]
    sentences += [*left_out_sentences(not_applicable(cells)), *spec.footnotes]
    return Table(spec.caption, labels, heads_of(scale), rows, {}, sentences, compared)


def select(frame: pd.DataFrame, spec: TableSpec) -> pd.DataFrame:
    """The cells of single steps with columns for family and printed name; draws are one row."""
    cells = scores_named(frame, spec.value).assign(score_name=spec.value)
    cells = row_names(draws_together(cells, spec.average_over), spec.labels)
    cells = with_families(cells)
    return cells.assign(printed=printed_names(cells))


def heads_of(scale: Quantity) -> list[str]:
    """Heads of the best methods' columns, then those of the median ones."""
    return ["best", str(scale), "ties with", "median", f"{scale}, median", "median ties with"]


def labels_of(row: dict, several_models: bool) -> list[str]:
    """Labels of a row: its model where there are several, what is removed, and the family."""
    removed = f"{row['compression']:g} of the {OF[row['equal']]}"
    return [*([row["model"]] if several_models else []), removed, row["family"]]


def entries_of(row: dict, compared: pd.DataFrame, spec: TableSpec, factor: float) -> list[Entry]:
    """The printed names, values and ties of a family."""
    same = [(compared[key] == row[key]) for key in ("model", "equal", "compression")]
    block = compared[np.logical_and.reduce(same)]
    entries = []
    for rank in ("best", "median"):
        of_many = f" (of {row['methods']})" if rank == "median" else ""
        entries += [
            Entry(row[rank] + of_many),
            value_entry(row, block, rank, spec, factor),
            Entry(row[f"{rank}_tied_with"] or "–"),
        ]
    return entries


def value_entry(row: dict, block: pd.DataFrame, rank: str, spec: TableSpec, factor: float) -> Entry:
    """A value with its error, in bold if it is the best of its block or ties with the best."""
    digits = spec.places(spec.value)
    value, error = (row[f"{rank}_{key}"] / factor for key in ("value", "stderr"))
    printed = Entry(f"{value:.{digits}f}", f"{error:.{digits}f}" if np.isfinite(error) else "")
    first = block.loc[block[f"{rank}_first"], "family"].iloc[0]
    printed.tied = first in row[f"{rank}_tied_with"].split(", ")
    if spec.mark_best and (printed.tied or first == row["family"]):
        printed.mark = "best"
    return printed


def remarks(compared: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Sentences below the table that explain its columns."""
    count, units = len(compared), units_of(cells["sample"])
    draws = ", or the standard deviation over draws of the calibration"
    return [
        "weights or bits: the fraction of the decoder's parameters that is gone or zero, or of 16 bits "
        "by the nominal width; bytes: of what the decoder takes in 16 bit, with zeros as a mask of one "
        "bit a weight",
        f"a method stands with its mildest level that removes at least {SHORT:g} less and at most "
        f"{OVER:g} more; median: of two in the middle the worse one",
        "bold: the best of a block, and what cannot be told apart from it (≈); ties: paired test over "
        f"{units} at 5 %, Holm over all pairs of best methods and of median methods of the table's "
        f"{count} rows; all other pairs differ",
        f"±: standard error of the value over {units}{draws if (cells['count'] > 1).any() else ''}; "
        "paired differences are known better",
    ]


def absent(compared: pd.DataFrame, spec: TableSpec) -> list[str]:
    """Sentences on compressions at which nothing was measured."""
    seen = set(zip(compared["equal"], compared["compression"], strict=True))
    return [
        f"no method removes {compression:g} of the {OF[equal]}"
        for equal in EQUAL
        for compression in spec.at_compressions
        if (equal, compression) not in seen
    ]


def not_applicable(cells: pd.DataFrame) -> list[str]:
    """For each chain without a value its printed name and the reason."""
    left = cells[cells["status"] != "ok"]
    reasons = zip(left["printed"], left["reason"].fillna(""), strict=True)
    return [f"{name} ({reason})" for name, reason in reasons]
