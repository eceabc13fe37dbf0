"""A ladder: the values at each level or scheme of a method, joined by a line."""

import pandas as pd
from matplotlib.axes import Axes

from meltpoint.figures.tooltips import note

LINE = {
    **{"markeredgecolor": "white", "markeredgewidth": 0.4},
    **{"linewidth": 1, "elinewidth": 0.7},
}


def draw_ladder(ax: Axes, cells: pd.DataFrame, look: tuple[str, str], label: str) -> None:
    """Draws one line through cells with `x`, `value`, `stderr` and `tooltip`."""
    color, marker = look
    error = cells["stderr"].fillna(0)
    ax.errorbar(
        cells["x"], cells["value"], yerr=error, color=color, marker=marker, label=label, **LINE
    )
    note(ax, cells["x"], cells["value"], cells["tooltip"])
