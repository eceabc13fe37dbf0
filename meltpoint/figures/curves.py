"""Curves: an evaluation over the sparsity, a line for each method, with fits and transition points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.analysis import references
from meltpoint.analysis.levels import level_label
from meltpoint.analysis.output_keys import Compared
from meltpoint.data import published
from meltpoint.errors import MeltpointError
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import matplotlib as mpl
from meltpoint.lazy_import import numpy as np
from meltpoint.lazy_import import pandas as pd
from meltpoint.text import reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from meltpoint.analysis.quantities import Quantity
    from meltpoint.analysis.references import StudyView

# Height of a panel as a share of its width.
HEIGHT = 0.74
# Columns that fits may lack.
OPTIONAL = (
    *("score", "floor", "s0_windows_low", "s0_windows_high"),
    *("s_half", "s_half_low", "s_half_high"),
)


class Spec(Compared, FigureSpec):
    """An evaluation over the sparsity, with the fitted curves and their transition points.

    There is a panel for each model. The same methods of a published table are drawn dashed.
    """

    kind: Literal["curves"] = Field("curves", description="Kind of the figure.")
    x: Literal["level", "removed"] = Field(
        "level",
        description="Horizontal axis: the level as it is asked for, or the fraction of the dense "
        "decoder's parameters that is `removed`: gone or zero.",
    )
    fit: Literal["transition"] | None = Field(
        None,
        description="`transition` draws the fitted curves and their transition points; the source must "
        "be a sweep. Default: the points are joined.",
    )

    @property
    def needs_transitions(self) -> bool:
        """True if the figure draws fitted curves: with `fit`."""
        return self.fit is not None


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the methods that labels name, the sweep that is fitted and the published table."""
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))
    references.check_order(key, study, spec)
    references.check_published(key, study, spec)
    if spec.fit and spec.x != "level":
        raise MeltpointError(f"{key}.fit: curves are fitted over the level: leave `x` out")
    if spec.fit and spec.source not in study.config.sweeps:
        raise MeltpointError(f"{key}.fit: curves are fitted to sweeps, and {spec.source} is none")
    if spec.fit and study.full_name(spec.value) not in study.fitted(spec.source):
        raise MeltpointError(
            f"{key}.fit: no curve of {spec.value} is fitted: name it in "
            f"sweeps.{spec.source}.transitions"
        )
    if spec.published and published.models(spec.published):
        raise MeltpointError(
            f"{key}.published: {spec.published} holds no sparsities: a tradeoff shows it"
        )


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """One row, with a column for each model."""
    return 1, len(study.groups[spec.source].models)


def draw(frame: pd.DataFrame, transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel for each model: points with standard errors, and fits with a star at s0.

    A strip below shows each s0 with its interval, one line per method: on the curves themselves the
    intervals would hide each other. The thick bar is the interval over windows or documents alone. An
    accuracy without an s0 has a circle where half of its advantage over chance is lost. 2:4 and 4:8 are
    hollow triangles at 0.5. The dense value and chance are dashed lines, infinities are signs at the
    upper edge. Published curves are dashed and hollow. In an SVG each point has a tooltip. Raises
    MeltpointError if no cell of the evaluation has a numeric sparsity.
    """
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity
    from meltpoint.figures import published_curves
    from meltpoint.figures.curve_panel import draw_panel
    from meltpoint.figures.interval_strip import draw_strip
    from meltpoint.figures.legend import draw_legend
    from meltpoint.figures.style import RC, looks, ordered

    label = quantity(scores_named(frame, spec.value))
    cells, compared = published_curves.split(select_cells(frame, spec, label), spec)
    fits = select_fits(transitions, cells, spec)
    look = looks(ordered(cells.loc[cells["chain"] != "dense", "name"], spec.order), spec.colors)
    models, published_lines = (
        list(cells["model"].unique()),
        published_curves.handles(compared, look),
    )
    with mpl.rc_context(RC):
        figure, curves, strips = lay_out(models, spec, pd.concat([cells, compared]), fits, look,
                                         len(published_lines))  # fmt: skip
        for model, ax, strip in zip(models, curves, strips, strict=True):
            fits_of_model = fits[fits["model"] == model]
            draw_panel(ax, cells[cells["model"] == model], fits_of_model, look)
            published_curves.draw(ax, compared[compared["model"] == model], look)
            draw_strip(strip, fits_of_model, look)
            ax.set_title(model if len(models) > 1 else "")
        curves[0].set_ylabel(str(label))
        draw_legend(figure, cells, fits, look, spec, published_lines)
    return figure


def select_cells(frame: pd.DataFrame, spec: Spec, label: Quantity) -> pd.DataFrame:
    """Cells of the evaluation with columns `x` (by `spec.x`) and `tooltip`; `x` of patterns is NaN."""
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.rows import row_names
    from meltpoint.figures.legend import PATTERNS

    cells = row_names(scores_named(frame, spec.value).query("status == 'ok'"), spec.labels)
    levels = pd.to_numeric(cells["level"], errors="coerce")
    cells["x"] = levels if spec.x == "level" else cells["removed"].where(levels.notna())
    if not cells["x"].notna().any():
        raise MeltpointError(f"No cell of {spec.value} has a numeric sparsity to draw a curve of.")
    placed = cells["x"].notna() | cells["level"].isin(PATTERNS) | (cells["chain"] == "dense")
    cells["tooltip"] = [cell_tooltip(cell, spec, label) for cell in cells.to_dict("records")]
    return cells[placed]


def x_label(spec: Spec, cells: pd.DataFrame) -> str:
    """Label of the horizontal axis: a level is a sparsity unless a method changes shapes."""
    from meltpoint.analysis.frame import AXES

    if spec.x == "removed":
        return "fraction of the decoder's parameters removed"
    return "level, as each method means it" if cells["kind"].isin(AXES).any() else "sparsity"


def cell_tooltip(cell: dict, spec: Spec, label: Quantity) -> str:
    """Tooltip of a point: its method and level, its value, and the sparsity that was achieved."""
    from meltpoint.analysis.frame import AXES

    title = f"{spec.labels.get(cell['name'], cell['name'])} at {level_label(cell['level'])}"
    achieved = cell.get("achieved", np.nan)
    axis = "fraction of parameters gone" if cell.get("kind") in AXES else "sparsity"
    sparsity = f"\nachieved {axis} {achieved:.4f}" if np.isfinite(achieved) else ""
    return f"{title}\n{label} {reading(cell['value'], cell['stderr'])}{sparsity}"


def select_fits(transitions: pd.DataFrame | None, cells: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Fitted curves of the cells, with columns for name, `x` and tooltip; none without `spec.fit`."""
    from meltpoint.analysis.rows import row_names

    if transitions is None or spec.fit is None:
        return pd.DataFrame(columns=["model", "name", "s0", "x"])
    # Published curves lack these columns: all are of perplexity, without intervals over windows.
    transitions = transitions.reindex(columns=[*dict.fromkeys([*transitions, *OPTIONAL])])
    fitted = transitions["form"].fillna("") != ""
    of_score = transitions["score"].isna() | transitions["score"].isin(cells["score"])
    fits = transitions[fitted & of_score & transitions["evaluation"].isin(cells["evaluation"])]
    fits = row_names(fits, spec.labels)
    return fits.assign(
        x=fits["s0"].fillna(fits["s_half"]),
        tooltip=[fit_tooltip(fit, spec) for fit in fits.to_dict("records")],
    )


def fit_tooltip(fit: dict, spec: Spec) -> str:
    """Tooltip of a star: the transition point with its two intervals.

    The second interval is over windows or documents alone.
    """
    name = spec.labels.get(fit["name"], fit["name"])
    if not np.isfinite(fit["s0"]):
        span = interval(fit, "s_half")
        return f"{name}: half of the advantage over chance lost at {fit['s_half']:.3f}{span}"
    over = "documents" if np.isfinite(fit["floor"]) else "windows"
    windows = interval(fit, "s0_windows", f"over {over}")
    return f"{name}: transition at {fit['s0']:.3f}{interval(fit, 's0')}{windows}"


def interval(fit: dict, name: str, words: str = "95 % interval") -> str:
    """A line of a tooltip with the ends of an interval; "" if there is none."""
    low, high = (fit[f"{name}_{end}"] for end in ("low", "high"))
    return f"\n{words} {low:.3f} to {high:.3f}" if np.isfinite(low) else ""


def lay_out(
    models: list[str],
    spec: Spec,
    cells: pd.DataFrame,
    fits: pd.DataFrame,
    look: dict,
    published_lines: int,
) -> tuple[Figure, list[Axes], list[Axes | None]]:
    """The figure, its panels, and the strip of transition points below each panel.

    The strips are None if no model has a transition point. Panels share the y axis. Below them is room
    for a legend of the methods and published lines.
    """
    from matplotlib.figure import Figure

    from meltpoint.figures.axes import scale_y
    from meltpoint.figures.interval_strip import ROW
    from meltpoint.figures.legend import LEGEND_ROW, columns

    transitions = fits["x"].notna().groupby(fits["model"]).sum()
    strip = ROW * (max(transitions, default=0) + 0.6) if (transitions > 0).any() else 0
    width, main = len(models) * spec.width, HEIGHT * min(spec.width, 4)
    labels = [spec.labels.get(name, name) for name in look]
    rows = (len(look) + published_lines + 3) // columns(labels, width) + 1
    figure = Figure((width, main + strip + LEGEND_ROW * rows), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0)
    shape = {"height_ratios": [main, strip]} if strip else {}
    grid = figure.subplots(
        len(shape) + 1, len(models), sharex=True, sharey="row", squeeze=False, **shape
    )
    grid[0, 0].set_xlim(min(0, cells["x"].min() - 0.05), min(1, cells["x"].max() + 0.05))
    if strip:
        grid[1, 0].set_ylabel("$s_0$", rotation=0, va="center", labelpad=8)
    for ax in grid[-1]:
        ax.set_xlabel(x_label(spec, cells))
    # Fractions have a linear axis.
    if not (cells["unit"] == "fraction").all():
        scale_y(grid[0, 0], cells.loc[np.isfinite(cells["value"]), "value"])
    return figure, grid[0], grid[1] if strip else [None] * len(models)
