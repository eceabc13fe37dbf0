"""A panel of a spread: dots for single values, means with errors, and signs for missing values."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meltpoint.analysis.levels import level_label
from meltpoint.figures.axes import scale_y
from meltpoint.figures.marks import DENSE_LINE, name_line
from meltpoint.figures.spec import FigureSpec
from meltpoint.figures.style import FAINT
from meltpoint.figures.tooltips import note
from meltpoint.text import reading

# Share of the distance between two places that the hues of one place take, as in seaborn.
DODGE = 0.8
# Distance of labels in inches below which they overlap unless they are steep.
CROWDED = 0.3
SINGLE = {"size": 2.6, "alpha": 0.45, "linewidth": 0, "jitter": False, "zorder": 2}
MEAN = {"markersize": 3.8, "markeredgewidth": 0, "linestyle": "none", "zorder": 4}
ERROR = {"elinewidth": 1, "capsize": 2.4, "capthick": 1, "fmt": "none", "zorder": 3}
ABSENT = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 6, "color": FAINT}
BEYOND = ABSENT | {"rotation": 0, "fontsize": 8, "va": "center"}
# Shares of a panel's height: place of signs at the bottom, their largest height, and their distance
# from a line.
LOWEST, SIGN, GAP = 0.02, 0.2, 0.02


def draw(
    ax: Axes,
    cells: pd.DataFrame,
    dense: pd.DataFrame,
    places: list[str],
    look: Mapping,
    spec: FigureSpec,
) -> None:
    """Draws the cells of a model and level: places along x, each hue beside the others.

    dense: the cells of the dense line. look: colour and marker by hue. A place without a finite value
    has a sign, whose tooltip gives the reason.
    """
    finite = cells[np.isfinite(cells["value"])]
    if len(finite):
        draw_means(ax, finite, places, look, averaged=spec.average_over is not None)
        # After seaborn, which would average logarithms on a logarithmic axis.
        scale_y(ax, finite["value"])
    below = clear_of(draw_dense(ax, dense))
    for number, (hue, (color, _)) in enumerate(look.items()):
        for index, place in enumerate(places):
            group = cells[(cells["hue"] == hue) & (cells["place"] == place)]
            x = index + DODGE / len(look) * (number - (len(look) - 1) / 2)
            if not np.isfinite(group["value"]).any():
                draw_absent(ax, x, group, below)
                continue
            group = group[np.isfinite(group["value"])]
            value, error = group["value"].mean(), error_of(group, spec)
            if not spec.average_over and error > 0:
                ax.errorbar(x, value, error, ecolor=color, **ERROR)
            note(ax, x, value, tooltip(group, value, error, spec))


def draw_means(
    ax: Axes, cells: pd.DataFrame, places: list[str], look: Mapping, averaged: bool
) -> None:
    """Draws the mean of each place and hue; if `averaged`, with its deviation and all single values."""
    columns = {"x": "place", "y": "value", "hue": "hue", "order": places, "hue_order": list(look)}
    columns |= {"palette": {hue: color for hue, (color, _) in look.items()}, "legend": False}
    dodge = DODGE - DODGE / len(look)
    markers = [marker for _, marker in look.values()]
    errors = {"errorbar": "sd", "capsize": 0.12 / len(look), "err_kws": {"linewidth": 1}}
    errors = errors if averaged else {"errorbar": None}
    sns.pointplot(cells, **columns, dodge=dodge, markers=markers, **errors, **MEAN, ax=ax)
    if averaged:
        sns.stripplot(cells, **columns, dodge=len(look) > 1, **SINGLE, ax=ax)
    ax.set(xlabel="", ylabel="")


def error_of(cells: pd.DataFrame, spec: FigureSpec) -> float:
    """Standard deviation of averaged values; for one value the error of its paired difference."""
    if spec.average_over:
        return cells["value"].std(ddof=1) if len(cells) > 1 else 0
    error = cells["difference_stderr"].iloc[0]
    return error if np.isfinite(error) else 0


def tooltip(cells: pd.DataFrame, value: float, error: float, spec: FigureSpec) -> str:
    """Tooltip of a mean: place and hue, the level in the chain if that differs, and the value."""
    first = cells.iloc[0]
    other_level = first["chain_level"] not in ("", first["level"])
    level = f" at {level_label(first['chain_level'])}" if other_level else ""
    mean = f"mean of {len(cells)}: " if spec.average_over else ""
    return f"{first['place']}{level}, {first['hue']}\n{mean}{reading(value, error)}"


def draw_absent(ax: Axes, x: float, cells: pd.DataFrame, below: float) -> None:
    """Draws N/A or "refused" below, ∞ or nan above, with a tooltip; nothing without a cell.

    below: height at which the signs below start, as a share of the axis.
    """
    for cell in cells.head(1).to_dict("records"):
        edge, measured = ax.get_xaxis_transform(), cell["status"] == "ok"
        sign = {np.inf: "∞"}.get(cell["value"], "nan") if measured else "N/A"
        sign = "refused" if cell["status"] == "refused" else sign
        y = 0.95 if measured else below
        ax.text(x, y, sign, transform=edge, **(BEYOND if measured else ABSENT))
        reason = sign if measured else cell["reason"]
        note(ax, x, y, f"{cell['place']}, {cell['hue']}\n{reason}", transform=edge)


def seen(ax: Axes, values: pd.Series) -> list[float]:
    """The values within the limits of the y axis."""
    low, high = ax.get_ylim()
    return [value for value in values if low < value < high]


def draw_dense(ax: Axes, dense: pd.DataFrame) -> list[float]:
    """Draws the dense value as a dashed line, if it is within the axis.

    Returns the heights of the drawn lines as shares of the axis, 0 to 1.
    """
    place, values = ax.transScale + ax.transLimits, seen(ax, dense["value"])
    for value in values:
        ax.axhline(value, **DENSE_LINE)
    return [place.transform((0.0, value))[1] for value in values]


def name_dense(row: Sequence[Axes], dense: pd.DataFrame) -> None:
    """Writes the name of the dense line once in a row: beside the last panel that shows the line."""
    for value in dense["value"]:
        for ax in [ax for ax in row if seen(ax, [value])][-1:]:
            name_line(ax, value, "dense")


def clear_of(lines: list[float]) -> float:
    """Height at which signs at the bottom start, as a share of the axis: above a line across them."""
    crossing = [line for line in lines if line < LOWEST + SIGN]
    return max(crossing) + GAP if crossing else LOWEST


def label_x(ax: Axes, places: list[str], spec: FigureSpec) -> None:
    """Labels the places along x, slanted if they would overlap."""
    slanted = max(map(len, places)) * 0.06 > spec.width / len(places) * 0.8
    steep = 45 if spec.width / len(places) < CROWDED else 30
    ax.set_xticks(range(len(places)), places, rotation=steep if slanted else 0,
                  ha="right" if slanted else "center")  # fmt: skip
    ax.set_xlim(-0.5, len(places) - 0.5)
    if spec.x != "method":
        ax.set_xlabel(spec.x)


def handles(look: Mapping, labels: Mapping[str, str]) -> list[Line2D]:
    """Legend handles of the hues."""
    return [
        Line2D([], [], color=color, marker=marker, markeredgecolor="white", linestyle="none",
               label=labels.get(hue, hue))
        for hue, (color, marker) in look.items()
    ]  # fmt: skip
