"""Perplexity over sparsity, with the fitted curves and their transition points."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.levels import level_label
from meltpoint.analysis.quantities import Quantity, quantity
from meltpoint.analysis.rows import row_names
from meltpoint.errors import MeltpointError
from meltpoint.figures.axes import scale_y
from meltpoint.figures.interval_strip import ROW, draw_strip
from meltpoint.figures.legend import HOLLOW, LEGEND_ROW, PATTERNS, STAR, columns, legend
from meltpoint.figures.published_curves import draw_beside, handles, split
from meltpoint.figures.style import FAINT, RC, looks
from meltpoint.figures.tooltips import note
from meltpoint.text import reading
from meltpoint.transitions.fit import predict

HEIGHT = 0.74


def draw_curves(frame: pd.DataFrame, transitions: pd.DataFrame | None, spec) -> Figure:
    """One panel per model: points with standard errors, fits with a star at s0.

    A strip below shows each s0 with its interval, one line per method: on the curves themselves
    they would hide each other. 2:4 and 4:8 are hollow triangles at 0.5, the dense perplexity is a
    dashed line, infinities stand at the upper edge; published curves are dashed and hollow. In an
    SVG each point says what it is. Raises MeltpointError where no cell of the evaluation has a
    numeric sparsity.
    """
    what = quantity(scores_named(frame, spec.value))
    cells = prepare(frame, spec, what)
    fits = prepare_fits(transitions, cells, spec)
    own, beside = split(cells, spec)
    names = list(dict.fromkeys(own.loc[own["chain"] != "dense", "name"]))
    names.sort(key=lambda name: spec.order.index(name) if name in spec.order else len(spec.order))
    look = looks(names, spec.colors)
    models, published = list(own["model"].unique()), list(handles(beside, look))
    with mpl.rc_context(RC):
        figure, curves, strips = panels(models, spec, cells, fits, names, len(published))
        for model, ax, strip in zip(models, curves, strips, strict=True):
            of_model = fits[fits["model"] == model]
            panel(ax, own[own["model"] == model], of_model, look)
            draw_beside(ax, beside[beside["model"] == model], look)
            draw_strip(strip, of_model, look)
            ax.set_title(model if len(models) > 1 else "")
        curves[0].set_ylabel(str(what))
        legend(figure, own, fits, look, spec, published)
    return figure


def prepare(frame: pd.DataFrame, spec, what: Quantity) -> pd.DataFrame:
    """The cells of the evaluation with their place on the x axis; those without one are dropped."""
    cells = scores_named(frame, spec.value).query("status == 'ok'")
    cells = row_names(cells, spec.labels)
    cells["x"] = pd.to_numeric(cells["level"], errors="coerce")
    if not cells["x"].notna().any():
        raise MeltpointError(f"No cell of {spec.value} has a numeric sparsity to draw a curve of.")
    drawn = cells["x"].notna() | cells["level"].isin(PATTERNS) | (cells["chain"] == "dense")
    cells["says"] = [describe_cell(cell, spec, what) for cell in cells.to_dict("records")]
    return cells[drawn]


def describe_cell(cell: dict, spec, what: Quantity) -> str:
    """A point's text: what it is of, its value, and the sparsity that it has."""
    title = f"{spec.labels.get(cell['name'], cell['name'])} at {level_label(cell['level'])}"
    achieved = cell.get("achieved", np.nan)
    sparsity = f"\nachieved sparsity {achieved:.4f}" if np.isfinite(achieved) else ""
    return f"{title}\n{what} {reading(cell['value'], cell['stderr'])}{sparsity}"


def prepare_fits(transitions: pd.DataFrame | None, cells: pd.DataFrame, spec) -> pd.DataFrame:
    """The fitted curves of the figure's cells that it asks for; none without `fit`."""
    if transitions is None or spec.fit is None:
        return pd.DataFrame(columns=["model", "name", "s0"])
    fitted = transitions["form"].fillna("") != ""
    fits = transitions[fitted & transitions["evaluation"].isin(cells["evaluation"])]
    fits = row_names(fits, spec.labels)
    return fits.assign(says=[describe_fit(fit, spec) for fit in fits.to_dict("records")])


def describe_fit(fit: dict, spec) -> str:
    """A star's text."""
    name = spec.labels.get(fit["name"], fit["name"])
    interval = f"{fit['s0_low']:.3f} to {fit['s0_high']:.3f}"
    return f"{name}: transition at {fit['s0']:.3f}\n95 % interval {interval}"


def panels(models: list[str], spec, cells: pd.DataFrame, fits: pd.DataFrame, names: list, more=0):
    """A row of panels that share the y axis, their strips of s0, and room for the legend below.

    The legend has an entry for each of the names, and `more`.
    """
    broken = fits["s0"].notna().groupby(fits["model"]).sum()
    below = ROW * (max(broken, default=0) + 0.6) if (broken > 0).any() else 0
    width, main = len(models) * spec.width, HEIGHT * min(spec.width, 4)
    labels = [spec.labels.get(name, name) for name in names]
    rows = (len(names) + more + 3) // columns(labels, width) + 1
    figure = Figure((width, main + below + LEGEND_ROW * rows), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0)
    shape = {"height_ratios": [main, below]} if below else {}
    grid = figure.subplots(
        len(shape) + 1, len(models), sharex=True, sharey="row", squeeze=False, **shape
    )
    grid[0, 0].set_xlim(0, min(1, cells["x"].max() + 0.05))
    if below:
        grid[1, 0].set_ylabel("$s_0$", rotation=0, va="center", labelpad=8)
    for ax in grid[-1]:
        ax.set_xlabel("sparsity")
    scale_y(grid[0, 0], cells.loc[np.isfinite(cells["value"]), "value"])
    return figure, grid[0], grid[1] if below else [None] * len(models)


def panel(ax: Axes, cells: pd.DataFrame, fits: pd.DataFrame, look: dict) -> None:
    """All that belongs to one model."""
    draw_dense(ax, cells.loc[cells["chain"] == "dense", "value"])
    for depth, (name, (color, marker)) in enumerate(look.items()):
        own = cells[(cells["name"] == name) & (cells["chain"] != "dense")]
        fit = fits[fits["name"] == name]
        draw_points(ax, own[own["x"].notna()], color, marker, joined=fit.empty)
        draw_patterns(ax, own, color)
        draw_infinities(ax, own[own["x"].notna()], color, depth)
        if len(fit):
            draw_fit(ax, fit.iloc[0], own.loc[own["x"].notna(), "x"], color)


def draw_dense(ax: Axes, values: pd.Series, above: bool = True) -> None:
    """A dashed line, named at its right end, where curves are far above it, or below the line."""
    for value in values[np.isfinite(values)]:
        ax.axhline(value, color=FAINT, linestyle=(0, (4, 2)), linewidth=0.8, zorder=1)
        ax.annotate(
            f"dense {value:.3g}",
            (1, value),
            xycoords=ax.get_yaxis_transform(),
            xytext=(0, 2 if above else -2),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            fontsize=6.5,
            color="#5F5F5F",
        )


def draw_points(ax: Axes, cells: pd.DataFrame, color: str, marker: str, joined: bool) -> None:
    """Points with their standard errors, joined by a line where no fit is drawn."""
    cells = cells[np.isfinite(cells["value"])].sort_values("x")
    dense = len(cells) > 12
    ax.errorbar(
        cells["x"],
        cells["value"],
        yerr=cells["stderr"].fillna(0),
        color=color,
        marker=marker,
        markersize=2.6 if dense else 4,
        markeredgecolor="white",
        markeredgewidth=0.3 if dense else 0.5,
        elinewidth=0.8,
        linestyle="-" if joined else "none",
        zorder=4,
    )
    note(ax, cells["x"], cells["value"], cells["says"])


def draw_patterns(ax: Axes, cells: pd.DataFrame, color: str) -> None:
    """N:M patterns as hollow triangles beside 0.5."""
    for level, (marker, offset) in PATTERNS.items():
        own = cells[(cells["level"] == level) & np.isfinite(cells["value"])]
        x = np.full(len(own), 0.5 + offset)
        ax.plot(x, own["value"], marker, color=color, **HOLLOW, zorder=5)
        note(ax, x, own["value"], own["says"])


def draw_infinities(ax: Axes, cells: pd.DataFrame, color: str, depth: int) -> None:
    """Infinite and undefined perplexities as signs at the upper edge, one line per method."""
    edge = ax.get_xaxis_transform()
    lowered = offset_copy(edge, ax.figure, y=-6 * depth, units="points")
    for _, cell in cells[~np.isfinite(cells["value"])].iterrows():
        note(ax, cell["x"], 1, cell["says"], transform=lowered)
        ax.annotate(
            "∞" if cell["value"] == np.inf else "nan",
            (cell["x"], 1),
            xycoords=edge,
            xytext=(0, -6 * depth),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8 if cell["value"] == np.inf else 6,
            color=color,
        )


def draw_fit(ax: Axes, fit: pd.Series, x: pd.Series, color: str) -> None:
    """The fitted curve and a star at its s0."""
    grid = np.linspace(x.min(), x.max(), 400)
    ax.plot(grid, predict(fit, grid), color=color, zorder=2)
    if np.isfinite(fit["s0"]):
        ax.plot(fit["s0"], fit["ppl_at_s0"], color=color, **STAR, zorder=6)
        note(ax, fit["s0"], fit["ppl_at_s0"], fit["says"])
