"""Heatmap: a score in a grid of two settings, or of methods and levels, the best cell framed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from meltpoint.analysis import references
from meltpoint.analysis.levels import level_key, level_label
from meltpoint.chain import without
from meltpoint.errors import MeltpointError
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import numpy as np
from meltpoint.lazy_import import pandas as pd
from meltpoint.section import Name
from meltpoint.text import reading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

# Inches of a cell, which holds its number.
CELL_HEIGHT = 0.22
COLORS = "cividis"


class Spec(FigureSpec):
    """A grid of coloured cells with their numbers, with a row of panels for each model.

    The panels of a model share their colours, of which the lighter ones are better. What differs
    between cells besides the two axes has a panel of its own.
    """

    kind: Literal["heatmap"] = Field(description="Kind of the figure.")
    x: Name = Field("level", description="Columns: `level`, `method`, or a setting that is swept.")
    y: Name = Field("method", description="Rows: `level`, `method`, or a setting that is swept.")
    scale: Literal["linear", "log"] = Field(
        "linear", description="Scale of the colours: `linear` or `log`."
    )
    digits: Annotated[int, Field(ge=0, le=8)] = Field(
        2, description="Digits after the decimal point of the numbers in the cells."
    )
    mark_best: bool = Field(True, description="Whether the best cell of each model is framed.")

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return f"by {self.x} and {self.y}"

    @property
    def settings(self) -> list[str]:
        """Settings that lie along an axis."""
        return [axis for axis in (self.x, self.y) if axis not in ("level", "method")]

    @model_validator(mode="after")
    def _has_two_axes(self) -> Self:
        if self.x == self.y:
            raise ValueError("y: the rows must differ from the columns")
        return self


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the settings along the axes and the methods that labels name."""
    swept = references.swept_settings(study, spec)
    for axis in ("x", "y"):
        if (name := getattr(spec, axis)) in spec.settings:
            references.check_names(f"{key}.{axis}", [name], swept, "setting that is swept")
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A row of panels for each model, with a colour bar.

    Raises MeltpointError if no cell has a value, or if no cell has a setting along an axis.
    """
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity
    from meltpoint.figures.heatmap_panels import Heatmap, draw_heatmap

    scores = scores_named(frame, spec.value)
    label = quantity(scores)
    cells = select_cells(scores, spec, label.factor)
    higher = bool((cells["better"] == "higher").any())
    columns, rows = order_of(cells, "x", spec.x, spec), order_of(cells, "y", spec.y, spec)
    # Numbers grow upwards; names are read from the top.
    rows = rows if spec.y in spec.settings else rows[::-1]
    shown = Heatmap(
        **{"value": "value", "label": str(label), "rows": "model", "columns": "panel"},
        **{"x": "x", "y": "y", "x_label": spec.x, "y_label": spec.y},
        digits=spec.digits,
        colors=COLORS if higher else f"{COLORS}_r",
        logarithmic=spec.scale == "log",
        best=("max" if higher else "min") if spec.mark_best else "",
        panel=(spec.width, CELL_HEIGHT * len(rows) + 0.3),
        **{"x_order": columns, "y_order": rows},
    )
    return draw_heatmap(cells, shown)


def select_cells(scores: pd.DataFrame, spec: Spec, factor: float) -> pd.DataFrame:
    """Scores of compressed models with `x`, `y`, `panel` and `tooltip`; values divided by `factor`."""
    from meltpoint.analysis.rows import row_names

    cells = scores[scores["chain"] != "dense"].copy()
    cells["value"] = (cells["value"] / factor).where(cells["status"] == "ok")
    if not np.isfinite(cells["value"]).any():
        raise MeltpointError(f"No cell of {spec.value} has a value to draw a heat map of.")
    settings, along = cells["settings"].astype(object).fillna("").astype(str), {}
    for key in spec.settings:
        along[key] = settings.str.extract(rf"(?:^|[,+]){key}=([^,+]*)")[0]
        if not along[key].notna().any():
            raise MeltpointError(f"No cell of {spec.value} has the setting {key!r} to draw over.")
        along[key] = along[key].fillna("default")
        settings = settings.map(lambda text, key=key: without(text, key))
    names = row_names(cells.assign(settings=settings), spec.labels)["name"]
    along |= {"method": names.map(lambda name: spec.labels.get(name, name))}
    along |= {"level": cells["level"].map(level_label)}
    panels = [along[key] for key in ("method", "level") if key not in (spec.x, spec.y)]
    titles = [" ".join(parts) for parts in zip(*panels, strict=True)] if panels else ""
    cells = cells.assign(x=along[spec.x], y=along[spec.y], panel=titles)
    return cells.assign(tooltip=[tooltip(cell, spec) for cell in cells.to_dict("records")])


def order_of(cells: pd.DataFrame, column: str, axis: str, spec: Spec) -> list[str]:
    """Names along an axis: levels and numbers by size, methods in the order of the study."""
    from meltpoint.figures.style import ordered

    if axis == "method":
        return ordered(cells[column], spec.order)
    if axis == "level":
        return [level_label(level) for level in sorted(cells["level"].unique(), key=level_key)]
    return sorted(cells[column].unique(), key=_number)


def _number(text: str) -> tuple:
    try:
        return (1, float(text), "")
    except ValueError:
        return (0, 0.0, text)


def tooltip(cell: dict, spec: Spec) -> str:
    """Tooltip of a cell: model and panel, place, and value or the reason for having none."""
    title = f"{cell['model']}, {cell['panel']}" if cell["panel"] else cell["model"]
    place = f"{spec.x} {cell['x']}, {spec.y} {cell['y']}"
    if cell["status"] != "ok":
        return f"{title}\n{place}\n{cell['status'].replace('_', ' ')}: {cell['reason']}"
    return f"{title}\n{place}\n{reading(cell['value'], cell['stderr'])}"
