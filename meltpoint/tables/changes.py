"""A table of changes: the change in percent by each operation or sequence of operations."""

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.operation_changes import own_changes, published_changes
from meltpoint.tables.entries import Notes
from meltpoint.tables.markup import Entry, Table
from meltpoint.tables.specs import TableSpec

PUBLISHED = "published: the study of the order of operations on Qwen2.5-3B (docs/published.md)"
ERRORS = "±: standard error of the change, paired by document or window where these are kept"


def build(frame: pd.DataFrame, spec: TableSpec) -> Table:
    """The table of the changes of `spec.value` in percent, with published changes to their right."""
    changes = own_changes(frame, spec.evaluations, spec.operations, spec.change)
    published = published_changes(changes, spec.published_metrics, spec.change)
    changes = changes.assign(published_change_pct=published)
    notes = Notes()
    rows = [
        (list(map(arrows, pair)), entries_of(group, spec, notes))
        for pair, group in changes.groupby(["from_sequence", "to_sequence"], sort=False)
    ]
    heads = []
    for name in spec.evaluations:
        heads.append(f"{scores_named(frame, name)['label'].iloc[0]} %")
        heads += ["published"] if name in spec.published_metrics else []
    remarks = [ERRORS, *([PUBLISHED] if spec.published_metrics else []), *spec.footnotes]
    return Table(spec.caption, ["from", "to"], heads, rows, notes.by_letter, remarks, changes)


def arrows(sequence: str) -> str:
    """A sequence with arrows between its operations."""
    return sequence.replace(">", "→")


def entries_of(group: pd.DataFrame, spec: TableSpec, notes: Notes) -> list[Entry]:
    """The changes of a pair of sequences, one score after the other."""
    entries = []
    for row in group.to_dict("records"):
        entries.append(entry_of(row, spec.places(row["metric"]), notes))
        if row["metric"] in spec.published_metrics:
            value = row["published_change_pct"]
            entries.append(Entry(f"{value:+.2f}" if np.isfinite(value) else "-"))
    return entries


def entry_of(row: dict, digits: int, notes: Notes) -> Entry:
    """One change with its error; N/A or "refused", with the reason, if a score has no value."""
    if row["status"] != "ok":
        word = "refused" if row["status"] == "refused" else "N/A"
        return Entry(word, notes=[notes.letter(row["reason"] or "not applicable")])
    if not np.isfinite(row["change_pct"]):
        return Entry("-")
    error = row["change_pct_stderr"]
    printed = f"{error:.{digits}f}" if np.isfinite(error) else ""
    return Entry(f"{row['change_pct']:+.{digits}f}", printed)
