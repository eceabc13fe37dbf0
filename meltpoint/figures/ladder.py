"""A ladder: the values at each level or scheme of a method, joined by a line."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from meltpoint.analysis.levels import level_key
from meltpoint.figures.tooltips import note

LINE = {
    **{"markeredgecolor": "white", "markeredgewidth": 0.4},
    **{"linewidth": 1, "elinewidth": 0.7},
}


# The first part of the sort keys of levels that are numbers: sparsities and bit widths.
NUMBERS = (0, 2)


def in_order(cells: pd.DataFrame) -> bool:
    """True if `x` rises or falls monotonically with the level, for sparsities and for bit widths."""
    keys = cells["level"].map(level_key)
    for number in NUMBERS:
        ladder = keys[[key[0] == number for key in keys]].sort_values().index
        steps = np.diff(cells.loc[ladder, "x"])
        if (steps > 0).any() and (steps < 0).any():
            return False
    return True


def draw_ladder(
    ax: Axes, cells: pd.DataFrame, look: tuple[str, str], label: str, joined: bool = True
) -> None:
    """Draws cells with `x`, `value`, `stderr` and `tooltip`, with a line through them if `joined`."""
    color, marker = look
    error = cells["stderr"].fillna(0)
    style = LINE | {"color": color, "marker": marker, "linestyle": "-" if joined else "none"}
    ax.errorbar(cells["x"], cells["value"], yerr=error, label=label, **style)
    note(ax, cells["x"], cells["value"], cells["tooltip"])
