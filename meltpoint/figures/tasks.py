"""Tasks: a score of each chain as a bar with its 95 % interval, with a panel for each task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.analysis import references
from meltpoint.analysis.task_names import tasks_of
from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import TALLEST, grid
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

# Inches of a row of bars, and of the title, the axis and the legend of a panel.
ROW, FRAME = 0.19, 0.85


class Spec(FigureSpec):
    """A bar for each chain, dense first, with a panel for each task of an evaluation.

    A bar's interval is 1.96 standard errors wide on each side; a dashed line stands at dense. `value`
    is an evaluation, of which all tasks, groups and their mean are shown, or one of its scores. A
    dotted line stands at chance, the score of answers that are drawn by lot, where that is known.
    """

    kind: Literal["tasks"] = Field(description="Kind of the figure.")

    @property
    def needs_samples(self) -> bool:
        """True: the scores at chance follow from the files beside a cell."""
        return True

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return "task by task"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the methods that labels name, and that the panels are not too many or too high."""
    from meltpoint.analysis.pair_checks import check_answers

    check_answers(key, study, spec.value)
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))
    references.check_order(key, study, spec)
    lines = 1 + len(study.chains(spec.source))
    rows, _ = panels(spec, study)
    if rows * (ROW * lines + FRAME) > TALLEST:
        raise MeltpointError(
            f"{key}.source: {rows} rows of panels with {lines} bars each are too many to look at: name "
            "one score of the evaluation, or a smaller source"
        )


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """A panel for each model and task."""
    evaluation, _ = study.score(spec.value)
    whole = spec.value == evaluation
    tasks = len(tasks_of(study.config.evaluations[evaluation])) if whole else 1
    return grid(max(tasks, 1) * len(study.groups[spec.source].models))


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel for each model and task with a bar for each chain, or its status without a value.

    Raises MeltpointError if no score has a value.
    """
    from meltpoint.analysis.answers import task_scores
    from meltpoint.analysis.levels import level_label
    from meltpoint.analysis.rows import row_names
    from meltpoint.figures.style import ordered
    from meltpoint.figures.task_panels import draw_panels

    cells = row_names(task_scores(frame, spec.value), spec.labels)
    known = (cells["status"] == "ok") & np.isfinite(cells["value"])
    if not known.any():
        raise MeltpointError(f"No cell of {spec.value} has a score of a task to draw.")
    method = cells["name"].map(lambda name: spec.labels.get(name, name))
    level = cells["level"].map(level_label).where(cells["level"] != "", "")
    dense = cells["chain"] == "dense"
    line = (method + " " + level).str.strip().mask(dense, "dense")
    cells = cells.assign(line=line, method_label=method, known=known, chance=chances(cells))
    places = ["dense", *ordered(cells.loc[~dense, "method_label"], spec.order)]
    order = cells["method_label"].mask(dense, "dense").map(places.index)
    lines = list(dict.fromkeys(cells.loc[order.sort_values(kind="stable").index, "line"]))
    return draw_panels(cells, lines, spec.width, ROW, FRAME)


def chances(cells: pd.DataFrame) -> list[float]:
    """Score at chance of each row; NaN if it is unknown or 0."""
    samples = cells.get("sample", [None] * len(cells))
    return [getattr(sample, "floor", 0.0) or np.nan for sample in samples]
