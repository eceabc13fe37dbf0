"""Changes of scores by operations, in percent, from a study's cells and as published."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.operation_order import changes
from meltpoint.analysis.paired import effect
from meltpoint.analysis.samples import Sample, protocol_difference
from meltpoint.analysis.sequences import sequence_of
from meltpoint.data.published.frames import read

PUBLISHED = "opseq_published_changes"
# Published tables of changes by the operation that comes last; those against the original under "".
TABLES = {
    **{"": "sequence_vs_original", "P": "pruning_comparison"},
    **{"Q": "quantization_comparison", "F": "fine_tuning_comparison"},
}
DENSE = "dense"


def own_changes(
    frame: pd.DataFrame, names: Iterable[str], operations: Mapping[str, str], change: str
) -> pd.DataFrame:
    """A row for each compared pair of sequences and each score, from a tidy frame of one model.

    Columns: from_sequence, to_sequence, metric (the score's name), score_from, score_to, change_abs,
    change_pct, change_pct_stderr, status and reason. Errors are paired where the frame has samples
    (`meltpoint.analysis.samples`), or the paired difference to the dense model; else the errors of both
    scores are taken as independent.
    """
    scores = pd.concat([scores_named(frame, name).assign(metric=name) for name in names])
    sequences = [sequence_of(chain, operations) for chain in scores["chain"]]
    scores = scores.assign(sequence=sequences, score=scores["value"]).dropna(subset="sequence")
    found = [pair for name in dict.fromkeys(scores["sequence"]) if (pair := compared(name, change))]
    known = set(scores["sequence"])
    rows = [
        {"from_sequence": first, "to_sequence": second, "metric": metric}
        for first, second in found
        if first in known
        for metric in dict.fromkeys(scores["metric"])
    ]
    table = changes(scores, pd.DataFrame(rows, columns=["from_sequence", "to_sequence", "metric"]))
    cells = scores.set_index(["sequence", "metric"])
    starts, ends = (
        cells.reindex(pd.MultiIndex.from_frame(table[[column, "metric"]])).reset_index()
        for column in ("from_sequence", "to_sequence")
    )
    both = zip(starts.to_dict("records"), ends.to_dict("records"), strict=True)
    paired = 100 * np.array([paired_error(*pair) for pair in both], float)
    return table.assign(
        change_pct_stderr=np.where(np.isnan(paired), table["change_pct_stderr"], paired),
        status=ends["status"].to_numpy(),
        reason=ends["reason"].to_numpy(),
    )


def paired_error(start: Mapping[str, Any], end: Mapping[str, Any]) -> float:
    """Standard error of the relative change from one cell's score to another's; NaN without pairs.

    With samples it is that of the quotient of both means, by the delta method. Else the difference to
    the dense model has its error, and the dense score is taken as known.
    """
    if not start["value"]:
        return np.nan
    first, second = start.get("sample"), end.get("sample")
    kept = isinstance(first, Sample) and isinstance(second, Sample)
    if kept and not protocol_difference(first.cell, second.cell):
        before, after = first.scores, second.scores
        rest = after - after.mean() / before.mean() * before
        return float(effect(rest).stderr / abs(before.mean()))
    known = end["difference_stderr"] if start["chain"] == DENSE else np.nan
    return known / abs(start["value"])


def compared(sequence: str, change: str) -> tuple[str, str] | None:
    """Pair of a sequence's reference and the sequence; None for a sequence that is not compared.

    change: the operation that comes last; "" compares all with the dense model.
    """
    if sequence == DENSE:
        return None
    if not change:
        return DENSE, sequence
    before, _, last = sequence.rpartition(">")
    return (before or DENSE, sequence) if last == change else None


def published_changes(table: pd.DataFrame, metrics: Mapping[str, str], change: str) -> pd.Series:
    """Published change in percent of each row of `own_changes`; NaN where there is none."""
    printed = read(PUBLISHED)
    printed = printed[printed["table"] == TABLES.get(change, "")]
    keys = ["from_sequence", "to_sequence", "metric"]
    values = printed.set_index(keys)["change_pct"]
    rows = zip(*(table[key] for key in keys[:2]), table["metric"].map(metrics), strict=True)
    return pd.Series([values.get(row, np.nan) for row in rows], index=table.index, dtype=float)
