"""A table of tasks: each chain's score on each task, and the answers that differ from dense's."""

import pandas as pd

from meltpoint.analysis.answers import against_dense, task_scores
from meltpoint.analysis.pairs import printed_names
from meltpoint.analysis.rows import row_names
from meltpoint.tables.entries import Notes, entry
from meltpoint.tables.grid import Printing
from meltpoint.tables.labels import arrange
from meltpoint.tables.markup import Entry, Table
from meltpoint.tables.pairs import p_text
from meltpoint.tables.specs import TableSpec

HEADS = ["score", "difference", "lost", "gained", "flips (%)", "p", "p (Holm)"]
NOTHING = Entry("")


def build(frame: pd.DataFrame, spec: TableSpec) -> Table:
    """The table of the tasks of `spec.value` from a tidy frame with samples.

    Rows are tasks, each with dense first.
    """
    cells = select(frame, spec)
    compared = against_dense(cells)
    several = len(compared["model"].unique()) > 1
    notes = Notes()
    shown = zip(cells.to_dict("records"), compared.to_dict("records"), strict=True)
    rows = [
        (
            [row["task"], *([row["model"]] if several else []), row["printed"]],
            [*scores_of(cell, spec, notes), *changes_of(row, notes)],
        )
        for cell, row in shown
    ]
    labels = ["task", *(["model"] if several else []), "method"]
    sentences = [*remarks(compared), *spec.footnotes]
    return Table(spec.caption, labels, HEADS, rows, notes.by_letter, sentences, compared)


def select(frame: pd.DataFrame, spec: TableSpec) -> pd.DataFrame:
    """The cells task by task, in the order of the rows, with printed names ("dense" for dense)."""
    cells = task_scores(frame, spec.value).assign(score_name=spec.value)
    parts = [
        arrange(row_names(part, spec.labels), spec.order)
        for _, part in cells.groupby("score", sort=False)
    ]
    cells = pd.concat(parts)
    compressed = cells["chain"] != "dense"
    return cells.assign(printed=printed_names(cells).where(compressed, "dense"))


def scores_of(cell: dict, spec: TableSpec, notes: Notes) -> list[Entry]:
    """The score with its error, and its paired difference to dense."""
    digits = spec.places(spec.value)
    score = entry(cell, Printing(digits, mark_best=False), notes)
    if cell["chain"] == "dense" or cell["status"] != "ok":
        return [score, NOTHING]
    difference = Printing(digits, show="difference", mark_best=False)
    return [score, entry({**cell, "note": ""}, difference, notes)]


def changes_of(row: dict, notes: Notes) -> list[Entry]:
    """Entries on documents whose answer changed, with McNemar's test; blank for dense."""
    if isinstance(row["not_tested"], str):
        return [Entry("-", notes=[notes.letter(row["not_tested"])]), *[NOTHING] * 4]
    if pd.isna(row["p"]):
        return [NOTHING] * 5
    return [
        Entry(f"{row['lost']:.0f}"),
        Entry(f"{row['gained']:.0f}"),
        Entry(f"{100 * row['flips']:.1f}"),
        Entry(p_text(row["p"])),
        Entry(p_text(row["p_holm"])),
    ]


def remarks(compared: pd.DataFrame) -> list[str]:
    """Sentences below the table that explain its columns."""
    tested = int(compared["p"].notna().sum())
    return [
        "score ± standard error over documents; difference: the score less dense's, ± its standard "
        "error, paired by document",
        "lost: documents that dense answers right and the method wrong; gained: the other way round; "
        "flips: both together",
        f"p: McNemar's exact test; Holm: corrected for the table's {tested} tests",
    ]
