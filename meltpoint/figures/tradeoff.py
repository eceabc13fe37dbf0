"""Tradeoff: perplexity over bits, size or speed, a line through the levels of each method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.analysis import references
from meltpoint.analysis.levels import level_label, nominal_bits
from meltpoint.analysis.output_keys import Compared
from meltpoint.data import published
from meltpoint.data.published import PERPLEXITY
from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import HEIGHT, grid
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import matplotlib as mpl
from meltpoint.lazy_import import numpy as np
from meltpoint.lazy_import import pandas as pd
from meltpoint.section import Name, ScoreName
from meltpoint.text import reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from meltpoint.analysis.quantities import Quantity
    from meltpoint.analysis.references import StudyView


# The unit of scores that have a linear axis.
FRACTION = "fraction"


class Spec(Compared, FigureSpec):
    """A perplexity over nominal bits or over another evaluation, both axes logarithmic.

    A score that is a fraction, such as a task's, has a linear axis. A point's error is the standard
    error of its paired difference to dense. A line joins the levels of a method unless their `x` goes
    up and down, as a time may.

    There is a panel for each model with a line for each method; of one method, one panel with a line
    for each model. The same methods of a published table are drawn dashed.
    """

    kind: Literal["tradeoff"] = Field(description="Kind of the figure.")
    x: ScoreName = Field(
        "level",
        description="Horizontal axis: `level` for nominal bits per weight, or an evaluation such as "
        "the size.",
    )

    published_column: Name = Field(
        PERPLEXITY,
        description="Column of the published table whose numbers are shown, such as `arc_e`.",
    )

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Pairs of a key and the score that it names."""
        return [("value", self.value), *([("x", self.x)] if self.x != "level" else [])]

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return f"over {'nominal bits per weight' if self.x == 'level' else self.x}"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the methods that labels name, the perplexity and the published table."""
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))
    references.check_order(key, study, spec)
    perplexity = study.perplexity(spec.value)
    if not perplexity and study.score(spec.value)[1].unit != FRACTION:
        raise MeltpointError(
            f"{key}.value: a tradeoff is of a perplexity, or of a score that is a fraction"
        )
    if spec.published is not None:
        columns = published.columns(spec.published)
        known = [name for name in columns if perplexity or name != PERPLEXITY]
        references.check_names(
            f"{key}.published_column", [spec.published_column], known, "column to compare with"
        )
    references.check_published(key, study, spec)


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """A panel for each model, or a single one for a single method."""
    several = len(references.row_names_of(study, spec)) > 1
    return grid(len(study.groups[spec.source].models) if several else 1)


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel for each model with a line for each method; one panel of models for a single method.

    Panels are in rows of `meltpoint.figures.panels.ACROSS`. Points have the errors of their paired
    differences and, if there is room, their level. Dense is a dashed line, and also a star if it has an
    `x`; an `x` far from all others is written beside the line. Published points are hollow, at the `x`
    of our cell of that level. Raises MeltpointError if no cell has an `x`.
    """
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity
    from meltpoint.figures import published_curves, tradeoff_panel
    from meltpoint.figures.point_labels import label_points
    from meltpoint.figures.style import RC, looks, ordered

    y_label = quantity(scores_named(frame, spec.value))
    cells, x_label = select_cells(frame, spec, y_label)
    cells, published = published_curves.split(cells, spec)
    by = "name" if cells.loc[cells["chain"] != "dense", "name"].nunique() > 1 else "model"
    published = published.assign(line=published["matched" if by == "name" else "model"])
    cells, published = cells.assign(line=cells[by]), place_published(published, cells, spec)
    look = looks(ordered(cells.loc[cells["chain"] != "dense", "line"], spec.order), spec.colors)
    models = list(cells["model"].unique())
    groups = [[model] for model in models] if by == "name" else [models]
    if len(groups[0]) == 1:
        cells = tradeoff_panel.without_far_dense(cells)
    handles = tradeoff_panel.handles(cells, published, look, spec.labels)
    with mpl.rc_context(RC):
        figure, axes = lay_out(len(groups), handles, spec, x_label, y_label)
        of_group = [(cells[cells["model"].isin(group)], published[published["model"].isin(group)])
                    for group in groups]  # fmt: skip
        for ax, group, (measured, others) in zip(axes, groups, of_group, strict=True):
            tradeoff_panel.draw(ax, measured, others, look)
            ax.set_title(group[0] if len(groups) > 1 else "")
        # A single model in a panel has a line for dense, which the y axis must include.
        seen = (cells["x"] > 0) | ((cells["chain"] == "dense") & (len(groups[0]) == 1))
        linear = (cells["unit"] == FRACTION).any()
        in_bits = x_label is None or x_label.words == "bits per weight"
        tradeoff_panel.scale(axes[0], pd.concat([cells[seen], published]), in_bits, linear)
        for ax, (measured, _) in zip(axes, of_group, strict=True):
            named = measured[measured["chain"] != "dense"]
            # From the top, so that the upper one of two points gets the better place for its label.
            named = named.sort_values("value", ascending=False, kind="stable")
            label_points(ax, named["x"], named["value"], point_labels(named, spec))
    return figure


def select_cells(
    frame: pd.DataFrame, spec: Spec, y_label: Quantity
) -> tuple[pd.DataFrame, Quantity | None]:
    """Cells of the perplexity with `x` and `tooltip`, and the quantity of x, None for nominal bits.

    Published cells have their nominal bits as `x`; over an evaluation `place_published` sets it. Raises
    MeltpointError if no cell of ours has an `x`.
    """
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity
    from meltpoint.analysis.rows import row_names

    cells = row_names(scores_named(frame, spec.value).query("status == 'ok'"), spec.labels)
    bits = [nominal_bits(*pair) for pair in zip(cells["level"], cells["method"], strict=True)]
    cells["x"], x_label = pd.Series(bits, index=cells.index), None
    if spec.x != "level":
        measured = scores_named(frame, spec.x).query("status == 'ok'")
        x_label = quantity(measured)
        values = measured.set_index(["model", "chain"])["value"] / x_label.factor
        chains = pd.MultiIndex.from_frame(cells[["model", "chain"]])
        cells["x"] = values.reindex(chains).to_numpy(float) if len(values) else np.nan
    compressed = (cells["chain"] != "dense") & (cells["model"] != "published")
    if not cells.loc[compressed, "x"].gt(0).any():
        missing = "nominal bits" if x_label is None else f"a value of {spec.x}"
        raise MeltpointError(f"No cell of {spec.value} has {missing} to draw it over.")
    cells["tooltip"] = [tooltip(cell, x_label, spec, y_label) for cell in cells.to_dict("records")]
    return cells, x_label


def tooltip(cell: dict, x_label: Quantity | None, spec: Spec, y_label: Quantity) -> str:
    """Tooltip of a point: model, method and level, its perplexity, and the evaluation along x."""
    method = spec.labels.get(cell["name"], cell["name"])
    title = f"{cell['model']}, {method}" + (f" {level_label(cell['level'])}" * bool(cell["level"]))
    place = f"\n{x_label}: {cell['x']:.4g}" if x_label and np.isfinite(cell["x"]) else ""
    return f"{title}\n{y_label} {reading(cell['value'], cell['stderr'])}{place}"


def lay_out(
    count: int, handles: list[Line2D], spec: Spec, x_label: Quantity | None, y_label: Quantity
) -> tuple[Figure, list[Axes]]:
    """The figure with `count` panels that share their axes, axis labels and a legend below."""
    from matplotlib.figure import Figure

    from meltpoint.figures.axes import in_rows, leftmost, lowest
    from meltpoint.figures.legend import LEGEND_ROW, columns

    rows, across = grid(count)
    width = across * spec.width
    ncols = columns([handle.get_label() for handle in handles], width)
    legend = LEGEND_ROW * (-(-len(handles) // ncols) + 0.5)
    figure = Figure((width, rows * HEIGHT * min(spec.width, 4) + legend), layout="constrained")
    axes = in_rows(figure, count, sharex=True, sharey=True)
    for ax in lowest(axes):
        ax.set_xlabel("nominal bits per weight" if x_label is None else str(x_label))
    for ax in leftmost(axes):
        ax.set_ylabel(str(y_label))
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols)
    return figure, axes


def place_published(published: pd.DataFrame, cells: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """The published cells with an `x`: their nominal bits, or the `x` of our cell of that level."""
    if spec.x != "level":
        lines = [line for _, line in published.groupby(["model", "matched"], sort=False)]
        published = pd.concat([published[:0], *(place_line(line, cells) for line in lines)])
    return published[(published["x"] > 0) & np.isfinite(published["value"])]


def place_line(published: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Published cells of one method and model with the `x` of our cells; NaN without such a cell."""
    from meltpoint.analysis.published_match import pairs

    first = published.iloc[0]
    ours = cells[(cells["model"] == first["model"]) & (cells["name"] == first["matched"])]
    places = dict(zip(ours["level"], ours["x"], strict=True))
    levels = pairs(list(places), list(published["level"]), next(iter(ours["method"]), ""))
    return published.assign(x=published["level"].map({level: places[x] for x, level in levels}))


def point_labels(cells: pd.DataFrame, spec: Spec) -> list[str]:
    """Label of each point: its level, unless the axis shows it."""
    on_axis = cells["level"].str.endswith("bit") & (spec.x == "level")
    return ["" if skip else level_label(level) if level else ""
            for level, skip in zip(cells["level"], on_axis, strict=True)]  # fmt: skip
