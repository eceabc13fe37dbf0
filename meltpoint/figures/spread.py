"""How far numbers spread over the draws of a calibration: do two methods differ at all?"""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.levels import at_bits, level_key, level_label
from meltpoint.analysis.quantities import quantity
from meltpoint.analysis.rows import row_names
from meltpoint.chain import without
from meltpoint.errors import MeltpointError
from meltpoint.figures.axes import scale_y
from meltpoint.figures.legend import LEGEND_ROW, columns
from meltpoint.figures.style import FAINT, RC, looks
from meltpoint.figures.tooltips import note
from meltpoint.text import reading

HEIGHT = 0.8
DODGE, BESIDE = 0.64, 0.3
# Inches between words that lie on each other unless they are steep.
CROWDED = 0.3
SINGLE = {
    **{"marker": "o", "markersize": 2.4, "markeredgewidth": 0, "linestyle": "none"},
    **{"alpha": 0.45, "zorder": 2},
}
ABSENT = {"rotation": 90, "ha": "center", "va": "center", "fontsize": 6, "color": FAINT}
BEYOND = ABSENT | {"rotation": 0, "fontsize": 8}
BAR = {
    **{"markersize": 3.6, "markeredgewidth": 0},
    **{"capsize": 2.4, "capthick": 1, "elinewidth": 1, "zorder": 4},
}


def draw_spread(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec) -> Figure:
    """A panel per model and level: each value faint, their mean with its standard deviation.

    Where nothing is swept over (`spec.over`), one value each with the error of its paired difference
    to dense.

    Along x lie the methods (those with a label by it), or the values of a setting (`spec.x`);
    `spec.over` is the setting over which the values spread; what else differs has a colour. The
    dense value is a dashed line. Raises MeltpointError where no cell has the setting.
    """
    what = quantity(scores_named(frame, spec.value))
    cells = prepare(frame, spec, what.factor)
    pruned = cells[cells["chain"] != "dense"]
    places = list(pruned["place"].unique())
    if spec.x != "method":
        places.sort(key=place_key)
    elif spec.order:
        places.sort(key=lambda x: spec.order.index(x) if x in spec.order else len(spec.order))
    look = looks(pruned["hue"].unique(), spec.colors)
    models, levels = cells["model"].unique(), sorted(pruned["level"].unique(), key=level_key)
    with mpl.rc_context(RC):
        width = spec.width * len(levels)
        rows = len(look) // columns([spec.labels.get(h, h) for h in look], width) + 1
        height = len(models) * HEIGHT * spec.width + rows * LEGEND_ROW
        figure = Figure((width, height), layout="constrained")
        axes = figure.subplots(len(models), len(levels), squeeze=False, sharex=True)
        for model, line in zip(models, axes, strict=True):
            for level, ax in zip(levels, line, strict=True):
                own = pruned[(pruned["model"] == model) & (pruned["level"] == level)]
                panel(ax, own, places, look, spec)
                draw_dense(ax, cells[(cells["model"] == model) & (cells["chain"] == "dense")])
                title = [model] if len(models) > 1 else []
                ax.set_title(", ".join([*title, level_label(level)]))
                label_x(ax, [spec.labels.get(place, place) for place in places], spec)
            said = f"\nmean ± sd over {spec.over}" if spec.over else ""
            line[0].set_ylabel(f"{what}{said}")
        if len(look) > 1:
            figure.legend(
                handles=[handle(look[hue], spec.labels.get(hue, hue)) for hue in look],
                loc="outside lower center",
                ncols=columns([spec.labels.get(h, h) for h in look], width),
            )
    return figure


def prepare(frame: pd.DataFrame, spec, factor: float) -> pd.DataFrame:
    """The cells with their place along x and what colours them; values divided by `factor`.

    A method without a level that is named after its bits, and w8a8, stand with that bit width; `at`
    is the level as it is.
    """
    cells = scores_named(frame, spec.value).copy()
    cells["value"] /= factor
    cells["difference_stderr"] /= factor
    cells["at"], cells["level"] = (
        cells["level"],
        list(map(at_bits, cells["level"], cells["method"])),
    )
    wanted = {str(level).replace(":", "of") for level in spec.levels}
    if wanted:
        cells = cells[cells["level"].isin(wanted) | (cells["chain"] == "dense")]
    whole = cells["settings"].fillna("")
    for key in filter(None, (spec.over, None if spec.x == "method" else spec.x)):
        if not whole.str.contains(rf"(?:^|[,+]){key}=").any():
            raise MeltpointError(f"No cell of {spec.value} has the setting {key!r} to draw over.")
    if spec.x != "method":
        cells["place"] = whole.map(lambda text: value_of(text, spec.x))
        return cells.assign(hue=rest_of(cells, spec.over, spec.x)["name"])
    named = row_names(rest_of(cells, spec.over), spec.labels)
    varied = named["row_settings"].groupby(cells["method"], group_keys=False).apply(what_varies)
    return cells.assign(place=named["row"], hue=varied.where(varied != "", "default"))


def rest_of(cells: pd.DataFrame, *keys: str | None) -> pd.DataFrame:
    """The cells as they are called without these settings."""
    settings = cells["settings"].fillna("")
    for key in keys:
        settings = settings.map(lambda text, key=key: without(text, key))
    return row_names(cells.assign(settings=settings), {})


def what_varies(settings: pd.Series) -> pd.Series:
    """A method's settings, less those that all its cells share."""
    parts = [set(filter(None, text.split(","))) for text in settings]
    common = set.intersection(*parts) if len(set(settings)) > 1 else set()
    return settings.map(
        lambda text: ",".join(part for part in text.split(",") if part not in common)
    )


def value_of(settings: str, key: str) -> str:
    """A setting's value as it is spelled; "default" where it is not."""
    parts = (part.partition("=") for part in settings.replace("+", ",").split(","))
    return next((value for name, _, value in parts if name == key), "default")


def place_key(place: str) -> tuple:
    """Numbers by size, behind words as they are."""
    try:
        return (1, float(place), "")
    except ValueError:
        return (0, 0.0, place)


def error_of(cells: pd.DataFrame, spec) -> float:
    """The deviation over what the values spread over; without, the error of the paired difference."""
    if spec.over:
        return cells["value"].std(ddof=1) if len(cells) > 1 else 0
    error = cells["difference_stderr"].iloc[0]
    return error if np.isfinite(error) else 0


def panel(ax: Axes, cells: pd.DataFrame, places: list[str], look: dict, spec) -> None:
    """Each hue beside the others at each place; what has no number says why not."""
    offsets = (np.arange(len(look)) - (len(look) - 1) / 2) * DODGE / len(look)
    for offset, (hue, (color, marker)) in zip(offsets, look.items(), strict=True):
        for index, place in enumerate(places):
            own = cells[(cells["hue"] == hue) & (cells["place"] == place)]
            x, finite = index + offset, own[np.isfinite(own["value"])]
            if finite.empty:
                draw_absent(ax, x, own)
                continue
            own = finite
            value, error = own["value"].mean(), error_of(own, spec)
            if spec.over:
                ax.plot(
                    [x + BESIDE * DODGE / len(look)] * len(own), own["value"], color=color, **SINGLE
                )
            ax.errorbar(x, value, error, color=color, marker=marker, **BAR)
            of = f"mean of {len(own)}: " if spec.over else ""
            at = own["at"].iloc[0]
            exactly = "" if at in ("", own["level"].iloc[0]) else f" at {level_label(at)}"
            note(ax, x, value, f"{place}{exactly}, {hue}\n{of}{reading(value, error)}")
    if np.isfinite(cells["value"]).any():
        scale_y(ax, cells.loc[np.isfinite(cells["value"]), "value"])


def draw_absent(ax: Axes, x: float, cells: pd.DataFrame) -> None:
    """N/A or "refused" below, ∞ or nan above; the pointer shows why. Nothing for what is not there."""
    for cell in cells.head(1).to_dict("records"):
        edge, measured = ax.get_xaxis_transform(), cell["status"] == "ok"
        sign = {np.inf: "∞"}.get(cell["value"], "nan") if measured else "N/A"
        sign = "refused" if cell["status"] == "refused" else sign
        y = 0.95 if measured else 0.07
        ax.text(x, y, sign, transform=edge, **(BEYOND if measured else ABSENT))
        said = f"{cell['place']}, {cell['hue']}\n{sign if measured else cell['reason']}"
        note(ax, x, y, said, transform=edge)


def draw_dense(ax: Axes, dense: pd.DataFrame) -> None:
    for value in dense["value"]:
        low, _ = ax.get_ylim()
        if value > low:
            ax.axhline(value, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))


def label_x(ax: Axes, places: list[str], spec) -> None:
    slanted = max(map(len, places)) * 0.06 > spec.width / len(places) * 0.8
    steep = 45 if spec.width / len(places) < CROWDED else 30
    ax.set_xticks(range(len(places)), places, rotation=steep if slanted else 0,
                  ha="right" if slanted else "center")  # fmt: skip
    ax.set_xlim(-0.5, len(places) - 0.5)
    if spec.x != "method":
        ax.set_xlabel(spec.x)


def handle(look: tuple[str, str], label: str) -> mpl.lines.Line2D:
    color, marker = look
    return mpl.lines.Line2D(
        [], [], color=color, marker=marker, markeredgecolor="white", label=label
    )
