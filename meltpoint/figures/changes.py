"""Changes: bars of what each operation, or each sequence of them, changes in percent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.analysis.operation_keys import OfOperations, check_operations
from meltpoint.errors import MeltpointError
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import pandas as pd
from meltpoint.section import ScoreName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

INTERVAL, PUBLISHED = "95 % interval", "published"


class Spec(OfOperations, FigureSpec):
    """A bar for each sequence of operations, with its 95 % interval; a hollow diamond is published.

    `value` is the first panel, `more` are others. A sequence without a value is "not applicable".
    """

    kind: Literal["changes"] = Field(description="Kind of the figure.")
    more: tuple[ScoreName, ...] = Field((), description="Scores of other panels.")

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The panels' scores, each with the key that names it."""
        return [("value", self.value), *(("more", name) for name in self.more)]

    @property
    def needs_samples(self) -> bool:
        """True: errors are paired by what is kept beside the cells."""
        return True

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return "by sequence of operations"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the operations and metrics that the figure names."""
    check_operations(key, study, spec)


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """Panels of bars, one for each score; raises MeltpointError if no change has a value."""
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.operation_changes import own_changes, published_changes
    from meltpoint.figures.bar_panels import draw_bars

    changes = own_changes(frame, spec.evaluations, spec.operations, spec.change)
    labels = [
        label_of(*pair)
        for pair in zip(changes["from_sequence"], changes["to_sequence"], strict=True)
    ]
    heads = {n: scores_named(frame, n)["label"].iloc[0] for n in spec.evaluations}
    bars = pd.DataFrame(
        {
            "panel": changes["metric"].map(heads),
            "row": labels,
            "value": changes["change_pct"],
            "half_width": 1.96 * changes["change_pct_stderr"],
            "other": published_changes(changes, spec.published_metrics, spec.change),
            "tooltip": [tooltip(row) for row in changes.to_dict("records")],
        }
    )
    known = (changes["status"] == "ok") & (bars["value"].abs() < float("inf"))
    if not known.any():
        raise MeltpointError(f"No cell of {spec.value} has a change to draw.")
    axis = f"change by {spec.change} (%)" if spec.change else "change against the dense model (%)"
    places = bars["panel"].map(list(heads.values()).index).sort_values(kind="stable").index
    shown = bars.loc[places][known.loc[places]]
    return draw_bars(shown, list(dict.fromkeys(labels)), axis, INTERVAL, PUBLISHED)


def label_of(first: str, second: str) -> str:
    """A comparison of two sequences in words; only the second one if the first is the dense model."""
    after = second.replace(">", "→")
    return after if first == "dense" else f"{first.replace('>', '→')}  to  {after}"


def tooltip(row: dict) -> str:
    """Text of a bar: both scores and the change."""
    name = label_of(row["from_sequence"], row["to_sequence"])
    ends = f"{row['score_from']:.4g} to {row['score_to']:.4g}"
    return f"{name}, {row['metric']}\n{ends}: {row['change_pct']:+.2f} %"
