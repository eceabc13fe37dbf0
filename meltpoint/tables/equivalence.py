"""A table of equivalence: is each chain's loss against dense within a margin?"""

import pandas as pd

from meltpoint.analysis import pairs
from meltpoint.analysis.equivalence import NOT_SHOWN, against_dense
from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.samples import Sample, units_of
from meltpoint.errors import MeltpointError, at
from meltpoint.tables.entries import Notes
from meltpoint.tables.markup import Entry, Table
from meltpoint.tables.pairs import left_out_sentences, p_text, select
from meltpoint.tables.specs import TableSpec


def build(frame: pd.DataFrame, spec: TableSpec) -> Table:
    """The table of `spec.equivalence` from a tidy frame with samples.

    Raises MeltpointError if dense or all compressed models lack a value, and if the windows of two
    chains differ.
    """
    key = f"{spec.value} of {spec.source}"
    usable, left_out = pairs.split_usable(select(frame, spec))
    scores = scores_named(frame, spec.value)
    dense = scores[scores["chain"] == "dense"]
    if usable.empty or not dense["sample"].map(lambda s: isinstance(s, Sample)).all():
        raise MeltpointError(f"{key}: equivalence needs values of dense and of a compressed model")
    compared = at(key, against_dense, usable, dense, spec.margin)
    several = len(compared["model"].unique()) > 1
    rows = [
        ([*([row["model"]] if several else []), row["printed"]], entries_of(row, spec))
        for row in compared.to_dict("records")
    ]
    labels = [*(["model"] if several else []), "method"]
    heads = ["loss (%)", "90 % interval", "p", "p (Holm)", f"within {percent(spec.margin)}"]
    units = units_of(usable["sample"])
    heads += ["margin that can be shown", f"{units} needed"]
    notes = Notes().by_letter
    sentences = [*remarks(compared, units), *left_out_sentences(left_out), *spec.footnotes]
    return Table(spec.caption, labels, heads, rows, notes, sentences, compared)


def entries_of(row: dict, spec: TableSpec) -> list[Entry]:
    """The printed numbers of a row, in per cent of dense."""
    digits = spec.places(spec.value)
    loss, error, low, high = (100 * row[key] for key in ("difference", "stderr", "low", "high"))
    verdict = {"within": "yes", "beyond": "no"}.get(row["verdict"], NOT_SHOWN)
    needed = row["windows_needed"]
    return [
        Entry(f"{loss:+.{digits}f}", f"{error:.{digits}f}"),
        Entry(f"{low:+.{digits}f} to {high:+.{digits}f}"),
        Entry(p_text(row["p"])),
        Entry(p_text(row["p_holm"])),
        Entry(verdict),
        Entry(percent(row["margin_shown"])),
        Entry("none" if pd.isna(needed) else f"{needed:,.0f}"),
    ]


def percent(fraction: float) -> str:
    """A fraction in per cent, to three digits."""
    return f"{100 * fraction:.3g} %"


def remarks(compared: pd.DataFrame, units: str) -> list[str]:
    """Sentences below the table that explain its columns."""
    return [
        "loss: the score less dense's, in per cent of dense",
        *pairs.error_sentences(compared, units),
        "p: two one-sided tests; Holm: corrected for the table's rows; yes and no at 5 %",
        f"margin that can be shown: of a truly lossless model with these {units}, with a power of "
        f"80 %; {units} needed: to show the measured loss to be within the margin, with the same power",
    ]
