"""A ladder: the values at each of a method's levels or schemes, joined by a line."""

import pandas as pd
from matplotlib.axes import Axes

from meltpoint.figures.tooltips import note

LINE = {
    **{"markeredgecolor": "white", "markeredgewidth": 0.4},
    **{"linewidth": 1, "elinewidth": 0.7},
}


def draw_ladder(ax: Axes, cells: pd.DataFrame, look: tuple[str, str], label: str) -> None:
    """One line through cells with `x`, `value`, `stderr` and `says`, which the pointer shows."""
    color, marker = look
    error = cells["stderr"].fillna(0)
    ax.errorbar(
        cells["x"], cells["value"], yerr=error, color=color, marker=marker, label=label, **LINE
    )
    note(ax, cells["x"], cells["value"], cells["says"])
