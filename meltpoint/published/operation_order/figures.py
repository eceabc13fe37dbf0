"""Bars of the order study's changes."""

from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from meltpoint.analysis import operation_order
from meltpoint.figures.bar_panels import draw_bars
from meltpoint.published.operation_order.discrepancies import KEYS
from meltpoint.published.operation_order.read import METRICS, OrderStudy
from meltpoint.published.specs import StudySpec

AXES = {
    "sequence_vs_original": "change against the original (%)",
    "fine_tuning_comparison": "change by fine-tuning (%)",
    "pruning_comparison": "change by pruning (%)",
    "quantization_comparison": "change by quantization (%)",
}
SIGNS = {"interval": "95 % interval (MMLU)", "other": "as published, where that is wrong"}


def draw_changes(spec: StudySpec, study: OrderStudy, checked: pd.DataFrame, table: str) -> Figure:
    """Recomputed percentages of a table, with 95 % intervals if the test's size is known.

    A percentage that is wrong in the source is a hollow diamond. checked: result of `check_changes`.
    """
    moved = checked["from_sequence"] != checked["to_sequence"]
    rows = checked[(checked["table"] == table) & moved]
    found = operation_order.changes(study.scores, rows[KEYS])
    ends = list(zip(rows["from_sequence"], rows["to_sequence"], strict=True))
    originals = table == "sequence_vs_original"
    labels = [arrows(second) if originals else label_of(first, second) for first, second in ends]
    bars = pd.DataFrame(
        {
            "panel": rows["metric"].map(spec.words),
            "row": labels,
            "value": rows["change_pct"],
            "half_width": 1.96 * found["change_pct_stderr"],
            "other": rows["published_change_pct"].where(~rows["agrees"]),
            "tooltip": [
                tooltip(spec, row, change.score_from, change.score_to)
                for row, change in zip(rows.itertuples(), found.itertuples(), strict=True)
            ],
        }
    )
    places = rows["metric"].map(METRICS.index).sort_values(kind="stable").index
    absent = [arrows(sequence) for sequence in study.not_applicable] if originals else []
    shown = [*dict.fromkeys(labels), *absent]
    return draw_bars(bars.loc[places], shown, AXES[table], step=50, **SIGNS)


def label_of(first: str, second: str) -> str:
    """A comparison of two sequences in words."""
    return f"{arrows(first)}  to  {arrows(second)}"


def arrows(sequence: str) -> str:
    """A sequence with arrows between its operations."""
    return sequence.replace(">", "→")


def tooltip(spec: StudySpec, row: NamedTuple, first: float, second: float) -> str:
    """Tooltip of a bar: both scores, the change, and the published change if that is wrong."""
    published = "" if row.agrees else f"\npublished: {row.published_change_pct:+.2f} %"
    return (
        f"{label_of(row.from_sequence, row.to_sequence)}, {spec.words[row.metric]}\n"
        f"{first:.2f} to {second:.2f}: {row.change_pct:+.2f} %{published}"
    )
