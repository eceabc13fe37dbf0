"""A table of pairs: every two methods at a level, their difference, its error and the verdict."""

import pandas as pd

from meltpoint.analysis import pairs
from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.paired import HEAVY, SIGN_FLIP, TWO_WAY
from meltpoint.analysis.quantities import quantity
from meltpoint.analysis.rows import row_names
from meltpoint.analysis.samples import units_of
from meltpoint.errors import at
from meltpoint.tables.entries import Notes
from meltpoint.tables.labels import arrange
from meltpoint.tables.markup import Entry, Table
from meltpoint.tables.specs import TableSpec

HEADS = ["difference", "p", "p (Holm)", "verdict"]
BY_SIGN_FLIPS = (
    f"tested by sign flips, because the excess kurtosis of the {{}}' differences is above {HEAVY:g}"
)


def build(frame: pd.DataFrame, spec: TableSpec) -> Table:
    """The table of the pairs of `spec.value` from a tidy frame with samples.

    Raises MeltpointError if fewer than two chains have a value, or if two cannot be compared.
    """
    cells = select(frame, spec)
    usable, left_out = pairs.split_usable(cells)
    compared = at(f"{spec.value} of {spec.source}", pairs.compare, usable)
    notes = Notes()
    scale, units = quantity(usable), units_of(usable["sample"])
    several = len(compared["model"].unique()) > 1
    rows = [
        (labels_of(pair, several), entries_of(pair, spec, scale.factor, notes, units))
        for pair in compared.to_dict("records")
    ]
    labels = [*(["model"] if several else []), "method", "against"]
    heads = [f"difference ({scale.unit})" if scale.unit else HEADS[0], *HEADS[1:]]
    sentences = [*remarks(compared, usable, units), *left_out_sentences(left_out), *spec.footnotes]
    return Table(spec.caption, labels, heads, rows, notes.by_letter, sentences, compared)


def select(frame: pd.DataFrame, spec: TableSpec) -> pd.DataFrame:
    """The cells of the level, in the order of the rows, with printed names; draws are one row."""
    cells = pairs.at_level(scores_named(frame, spec.value), spec.level)
    cells = pairs.draws_together(cells.assign(score_name=spec.value), spec.average_over)
    cells = arrange(row_names(cells, spec.labels), spec.order)
    return cells.assign(printed=pairs.printed_names(cells))


def labels_of(pair: dict, several_models: bool) -> list[str]:
    """Labels of a pair: the model if the table has several, and the names of the two methods."""
    return [*([pair["model"]] if several_models else []), pair["first"], pair["second"]]


def entries_of(pair: dict, spec: TableSpec, factor: float, notes: Notes, units: str) -> list[Entry]:
    """The printed numbers of a pair, and its verdict; units: "windows" or "documents"."""
    digits = spec.places(spec.value)
    difference, error = (pair[key] / factor for key in ("difference", "stderr"))
    letters = [notes.letter(BY_SIGN_FLIPS.format(units))] if pair["test"] == SIGN_FLIP else []
    calibrated = pair["calibrations"]
    differ = [notes.letter(f"calibrated on {calibrated}")] if calibrated else []
    return [
        Entry(f"{difference:+.{digits}f}", f"{error:.{digits}f}", notes=differ),
        Entry(p_text(pair["p"]), notes=letters),
        Entry(p_text(pair["p_holm"])),
        Entry(pair["verdict"]),
    ]


def p_text(p: float) -> str:
    """A p value to three digits; the smallest are "<0.001"."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def remarks(compared: pd.DataFrame, cells: pd.DataFrame, units: str) -> list[str]:
    """Sentences below the table that explain its columns."""
    better = "lower" if (cells["better"] == "lower").all() else "higher"
    test = f"t test over {units}"
    if (compared["test"] == TWO_WAY).any():
        test = f"t test with the error over {units} and draws"
    return [
        tied_sentence(compared),
        f"difference: the method less the one that it is compared with; {better} is better",
        *pairs.error_sentences(compared, units),
        f"p: paired {test}; Holm: corrected for the table's {len(compared)} comparisons; verdict at "
        "5 %",
    ]


def tied_sentence(compared: pd.DataFrame) -> str:
    """Sentence that lists the pairs of methods that cannot be told apart."""
    tied = compared[compared["verdict"] == pairs.NEITHER]
    several = len(compared["model"].unique()) > 1
    names = [
        f"{pair['first']} and {pair['second']}" + (f" ({pair['model']})" if several else "")
        for pair in tied.to_dict("records")
    ]
    if not names:
        return "every two are told apart"
    return f"cannot be told apart: {'; '.join(names)}"


def left_out_sentences(left_out: list[str]) -> list[str]:
    """A list of one sentence that names the chains without a comparison; empty without any."""
    return [f"left out: {'; '.join(left_out)}"] if left_out else []
