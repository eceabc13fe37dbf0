"""Spread: how far values spread over a setting such as the seed, or from method to method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from meltpoint.analysis import references
from meltpoint.analysis.levels import at_bits, level_key, level_label
from meltpoint.chain import methods_of, without
from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import HEIGHT
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import matplotlib as mpl
from meltpoint.lazy_import import numpy as np
from meltpoint.lazy_import import pandas as pd
from meltpoint.section import Name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView


class Spec(FigureSpec):
    """Values side by side, with a panel for each model and level.

    Each value is a faint dot; their mean has its standard deviation as error. Without `average_over`
    there is one value each, with the error of its paired difference to dense.
    """

    kind: Literal["spread"] = Field(description="Kind of the figure.")
    x: Name = Field(
        "method",
        description="Horizontal axis: `method`, or a setting that is swept, such as `samples`.",
    )
    average_over: Name | None = Field(
        None,
        description="Setting whose values are averaged, such as `seed`. Default: none, one value each.",
    )
    levels: list[Any] = Field(
        default_factory=list, description="Levels to draw, a panel for each. Default: all."
    )

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return f"by {self.x}"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the settings and the methods that are named."""
    swept = references.swept_settings(study, spec)
    references.check_names(
        f"{key}.average_over", [spec.average_over], swept, "setting that is swept"
    )
    if spec.x != "method":
        references.check_names(f"{key}.x", [spec.x], swept, "setting that is swept")
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))
    references.check_order(key, study, spec)


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """A row for each model, a column for each level."""
    levels = {
        at_bits("+".join(str(s.level) for s in steps if s.level is not None), methods_of(steps))
        for steps in references.chains_of(study, spec)
    }
    return len(study.groups[spec.source].models), len(spec.levels or levels)


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel for each model and level, with methods or the values of a setting along x.

    Methods with a label have a place of their own; other differences in settings have a colour. The
    dense value is a dashed line. Raises MeltpointError if no cell has the setting.
    """
    from matplotlib.figure import Figure

    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity
    from meltpoint.figures import spread_panel
    from meltpoint.figures.legend import LEGEND_ROW, columns
    from meltpoint.figures.style import RC, looks

    label = quantity(scores_named(frame, spec.value))
    cells = select_cells(frame, spec, label.factor)
    compressed = cells[cells["chain"] != "dense"]
    places = ordered_places(compressed["place"].unique(), spec)
    look = looks(compressed["hue"].unique(), spec.colors)
    hues = [spec.labels.get(hue, hue) for hue in look]
    models = cells["model"].unique()
    levels = sorted(compressed["level"].unique(), key=level_key)
    with mpl.rc_context(RC):
        width = spec.width * len(levels)
        legend = LEGEND_ROW * (len(look) // columns(hues, width) + 1)
        height = len(models) * HEIGHT * spec.width + legend
        figure = Figure((width, height), layout="constrained")
        axes = figure.subplots(len(models), len(levels), squeeze=False, sharex=True)
        for model, row in zip(models, axes, strict=True):
            cells_of_model = cells[cells["model"] == model]
            dense = cells_of_model[cells_of_model["chain"] == "dense"]
            for level, ax in zip(levels, row, strict=True):
                shown = (cells_of_model["level"] == level) & (cells_of_model["chain"] != "dense")
                spread_panel.draw(ax, cells_of_model[shown], dense, places, look, spec)
                spread_panel.label_x(ax, [spec.labels.get(place, place) for place in places], spec)
                ax.set_title(", ".join([*([model] * (len(models) > 1)), level_label(level)]))
            spread_panel.name_dense(row, dense)
            deviation = f"\nmean ± sd over {spec.average_over}" if spec.average_over else ""
            row[0].set_ylabel(f"{label}{deviation}")
        if len(look) > 1:
            handles = spread_panel.handles(look, spec.labels)
            figure.legend(handles=handles, loc="outside lower center", ncols=columns(hues, width))
    return figure


def select_cells(frame: pd.DataFrame, spec: Spec, factor: float) -> pd.DataFrame:
    """Cells of the evaluation with their `place` along x and their `hue`; values divided by `factor`.

    `level` is the bit width for a method that is named after its bits, and for w8a8. `chain_level` is
    the level in the chain. Raises MeltpointError if no cell has a setting that the figure names.
    """
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.rows import row_names

    cells = scores_named(frame, spec.value).copy()
    cells["value"] /= factor
    cells["difference_stderr"] /= factor
    cells["chain_level"] = cells["level"]
    cells["level"] = list(map(at_bits, cells["level"], cells["method"]))
    levels = {str(level).replace(":", "of") for level in spec.levels}
    if levels:
        cells = cells[cells["level"].isin(levels) | (cells["chain"] == "dense")]
    settings = cells["settings"].astype(object).fillna("")
    for key in filter(None, (spec.average_over, None if spec.x == "method" else spec.x)):
        if not settings.str.contains(rf"(?:^|[,+]){key}=").any():
            raise MeltpointError(f"No cell of {spec.value} has the setting {key!r} to draw over.")
    if spec.x != "method":
        cells["place"] = settings.map(lambda text: value_of(text, spec.x))
        return cells.assign(hue=name_without(cells, spec.average_over, spec.x)["name"])
    named = row_names(name_without(cells, spec.average_over), spec.labels)
    varied = named["row_settings"].groupby(cells["method"], group_keys=False).apply(what_varies)
    return cells.assign(place=named["row"], hue=varied.where(varied != "", "default"))


def name_without(cells: pd.DataFrame, *keys: str | None) -> pd.DataFrame:
    """The cells with a column `name`: method and settings, without the settings in `keys`."""
    from meltpoint.analysis.rows import row_names

    settings = cells["settings"].astype(object).fillna("")
    for key in keys:
        settings = settings.map(lambda text, key=key: without(text, key))
    return row_names(cells.assign(settings=settings), {})


def what_varies(settings: pd.Series) -> pd.Series:
    """The settings of a method's cells, without those that all of them share."""
    parts = [set(filter(None, text.split(","))) for text in settings]
    common = set.intersection(*parts) if len(set(settings)) > 1 else set()
    return settings.map(
        lambda text: ",".join(part for part in text.split(",") if part not in common)
    )


def value_of(settings: str, key: str) -> str:
    """Value of a setting in a chain's settings; "default" if they do not set it."""
    parts = (part.partition("=") for part in settings.replace("+", ",").split(","))
    return next((value for name, _, value in parts if name == key), "default")


def ordered_places(places: np.ndarray, spec: Spec) -> list[str]:
    """Places along x: methods in the order of the study, or values of a setting.

    Of these, words come first and numbers follow by size.
    """
    from meltpoint.figures.style import ordered

    return ordered(places, spec.order) if spec.x == "method" else sorted(places, key=_size)


def _size(place: str) -> tuple[int, float]:
    try:
        return 1, float(place)
    except ValueError:
        return 0, 0.0
