"""Published curves beside a study's own: dashed, thin, with hollow markers."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meltpoint.analysis.published_match import of_several_models
from meltpoint.errors import MeltpointError
from meltpoint.figures.tooltips import note

LOOK = {
    **{"linestyle": (0, (3, 1.5)), "linewidth": 0.8, "markersize": 3.4},
    **{"markerfacecolor": "white", "markeredgewidth": 0.7, "zorder": 1.5},
}


def split(cells: pd.DataFrame, spec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A study's own cells, and those of the published table that hold a method of its own as `own`.

    Names, or the labels that they have here, are compared without regard to case. Where the table
    holds several models those that `spec.beside` names are kept, as the model of ours; one of one
    model is of `spec.published_model`, or of the only one of ours. Raises MeltpointError where the
    table has none.
    """
    if spec.published is None:
        return cells, cells[:0].assign(own="")
    theirs = cells["model"] == "published"
    own, beside = cells[~theirs], cells[theirs]
    if of_several_models(beside):
        ours = {their: our for our, their in spec.beside.items()}
        beside = beside.assign(model=beside["of"].map(ours)).dropna(subset="model")
    else:
        beside = beside.assign(model=spec.published_model or own["model"].iloc[0])
    first = own.drop_duplicates("method")
    same = {
        method.lower(): name for name, method in zip(first["name"], first["method"], strict=True)
    }
    same |= {label.lower(): name for name, label in spec.labels.items() if name in set(own["name"])}
    known = beside["method"].str.lower().isin(same)
    if not known.any():
        raise MeltpointError(
            f"published: {spec.published} has none of the figure's methods; it has "
            f"{', '.join(dict.fromkeys(beside['method']))}"
        )
    beside = beside[known]
    return own, beside.assign(own=beside["method"].str.lower().map(same))


def draw_beside(ax: Axes, beside: pd.DataFrame, look: dict) -> None:
    """A line for each published method, in the colour of the study's own."""
    numeric = beside[beside["x"].notna() & np.isfinite(beside["value"])]
    for own, cells in numeric.sort_values("x").groupby("own", sort=False):
        color, marker = look[own]
        ax.plot(cells["x"], cells["value"], color=color, marker=marker, **LOOK)
        note(ax, cells["x"], cells["value"], "published " + cells["says"])


def handles(beside: pd.DataFrame, look: dict) -> Iterable[Line2D]:
    """What the legend says of them."""
    for own, cells in beside.groupby("own", sort=False):
        color, marker = look[own]
        label = f"{cells['method'].iloc[0]} (published)"
        yield Line2D([], [], color=color, marker=marker, label=label, **LOOK)
