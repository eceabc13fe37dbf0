"""Bars: how far compression moves a score from the dense model's, with 95 % intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from meltpoint.analysis import references
from meltpoint.analysis.levels import level_label
from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import TALLEST
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import numpy as np
from meltpoint.lazy_import import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

# Inches of a row of bars, and of the space above and below them together; half width of an interval
# in standard errors.
ROW, FRAME = 0.19, 0.9
INTERVAL = 1.96


class Spec(FigureSpec):
    """A bar for each method and level, with a panel for each model.

    A bar is the paired difference to the dense model; its interval is 1.96 standard errors of that
    difference wide on each side. The value stands to the right.
    """

    kind: Literal["bars"] = Field(description="Kind of the figure.")
    show: Literal["difference", "percent"] = Field(
        "difference",
        description="`difference` to the dense value, or that in `percent` of the dense value.",
    )
    digits: Annotated[int, Field(ge=0, le=8)] = Field(
        2, description="Digits after the decimal point of the printed values."
    )

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return "as differences to the dense model"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the methods that labels name, and that the rows are not too many to look at."""
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))
    references.check_order(key, study, spec)
    rows = len(study.chains(spec.source))
    if ROW * rows + FRAME > TALLEST:
        most = int((TALLEST - FRAME) / ROW)
        raise MeltpointError(
            f"{key}.source: {rows} bars below each other are too many to look at: {most} at the most"
        )


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """A column for each model."""
    return 1, len(study.groups[spec.source].models)


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel for each model with a bar for each method and level.

    Rows without a difference are "not applicable". Raises MeltpointError if no score has one.
    """
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity
    from meltpoint.analysis.rows import row_names
    from meltpoint.figures.bar_panels import draw_bars
    from meltpoint.figures.style import ordered

    scores = scores_named(frame, spec.value)
    label = quantity(scores)
    cells = row_names(scores[scores["chain"] != "dense"], spec.labels)
    method = cells["name"].map(lambda name: spec.labels.get(name, name))
    level = cells["level"].map(level_label).where(cells["level"] != "", "")
    cells = cells.assign(row=(method + " " + level).str.strip(), method_label=method)
    places = ordered(cells["method_label"], spec.order)
    cells = cells.sort_values("method_label", key=lambda m: m.map(places.index), kind="stable")
    known = (cells["status"] == "ok") & np.isfinite(cells["difference"])
    if not known.any():
        raise MeltpointError(f"No cell of {spec.value} has a difference to dense to draw a bar of.")
    bars = bars_of(cells[known], scores, label.factor, spec)
    axis = f"{label}: difference to dense" + (" (%)" if spec.show == "percent" else "")
    rows = list(dict.fromkeys(cells["row"]))
    width = spec.width * bars["panel"].nunique()
    return draw_bars(bars, rows, axis, interval="95 % interval", width=width, digits=spec.digits)


def bars_of(cells: pd.DataFrame, scores: pd.DataFrame, factor: float, spec: Spec) -> pd.DataFrame:
    """Frame of the bars, with the columns that `meltpoint.figures.bar_panels.draw_bars` takes.

    factor: divisor of the score's unit, unless bars are in percent of the dense value.
    """
    unit = pd.Series(factor, index=cells.index)
    if spec.show == "percent":
        dense = scores[scores["chain"] == "dense"].set_index("model")["value"]
        unit = cells["model"].map(dense).abs() / 100
    bars = pd.DataFrame(
        {
            "panel": cells["model"],
            "row": cells["row"],
            "value": cells["difference"] / unit,
            "half_width": INTERVAL * cells["difference_stderr"] / unit,
            "other": np.nan,
        }
    )
    tooltips = [
        f"{bar.row}\n{bar.value:+.4g} ± {bar.half_width / INTERVAL:.2g}"
        for bar in bars.itertuples()
    ]
    return bars.assign(tooltip=tooltips)
