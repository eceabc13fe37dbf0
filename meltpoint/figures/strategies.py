"""Strategies: a score of each decoding strategy side by side, with a panel for each task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.analysis import references
from meltpoint.analysis.strategy_checks import strategies_of
from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import TALLEST
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import pandas as pd
from meltpoint.section import ScoreName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

# Inches of a row, and of the title, the axis and the legend of a panel.
ROW, FRAME = 0.2, 1.1


class Spec(FigureSpec):
    """A row for each decoding strategy, deterministic ones above stochastic ones.

    A marker is the score of a chain with its 95 % interval. `value` is the first panel, and a panel
    shows the score that its evaluation means, or that is named, for all strategies of the evaluation.
    `labels` may name strategies too.
    """

    kind: Literal["strategies"] = Field(description="Kind of the figure.")
    more: tuple[ScoreName, ...] = Field(
        (), description="Evaluations of other tasks, or their scores, each a panel."
    )

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The panels' scores, each with the key that names it."""
        return [("value", self.value), *(("more", name) for name in self.more)]

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return "by decoding strategy"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks that panels are of generated texts, the methods that labels name, and the height."""
    references.check_order(key, study, spec)
    strategies = strategies_of(key, study, spec.shown)
    known = references.row_names_of(study, spec) | {name for each in strategies for name in each}
    references.check_names(f"{key}.labels", spec.labels, known)
    most = max(map(len, strategies))
    if ROW * most + FRAME > TALLEST:
        raise MeltpointError(f"{key}: {most} strategies below each other are too many to look at")


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """A row for each model and a column for each task."""
    return len(study.groups[spec.source].models), len(spec.shown)


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """Panels with a row for each strategy and a marker for each chain.

    Refused scores have no marker. Raises MeltpointError if no score has a value.
    """
    from meltpoint.figures.strategy_panels import draw_panels

    columns = [panel_of(frame, name, spec) for _, name in spec.shown]
    if all(column.empty for column in columns):
        raise MeltpointError(f"No cell of {spec.value} has a score of a strategy to draw.")
    return draw_panels(columns, spec)


def panel_of(frame: pd.DataFrame, name: str, spec: Spec) -> pd.DataFrame:
    """The finite scores of all strategies of an evaluation.

    Columns are `strategy`, `stochastic` (true if the strategy draws tokens), and `line`, the printed
    name of the chain.
    """
    from meltpoint.analysis.rows import row_names
    from meltpoint.analysis.strategies import scores_of_strategies

    cells = scores_of_strategies(frame, name)
    cells = cells[(cells["status"] == "ok") & (cells["value"].abs() < float("inf"))]
    cells = row_names(cells, spec.labels)
    level = cells["level"].where(cells["level"] != "", "")
    chain = (cells["name"].map(lambda n: spec.labels.get(n, n)) + " " + level).str.strip()
    return cells.assign(line=chain)
