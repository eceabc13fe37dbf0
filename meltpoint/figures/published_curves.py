"""Published curves that are drawn with a study's own: dashed, thin, with hollow markers."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meltpoint.analysis.output_keys import Compared
from meltpoint.analysis.published_match import of_several_models
from meltpoint.errors import MeltpointError
from meltpoint.figures.tooltips import note

LOOK = {
    **{"linestyle": (0, (3, 1.5)), "linewidth": 0.8, "markersize": 3.4},
    **{"markerfacecolor": "white", "markeredgewidth": 0.7, "zorder": 1.5},
}


def split(cells: pd.DataFrame, spec: Compared) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The study's cells, and published cells of the same methods; the latter empty without a table.

    Published cells get our name of their method as `matched`, and our model as `model`. Methods match
    by name or by label, in any case of letters. If the published table has several models, those in
    `spec.published_models` are kept. Otherwise its cells belong to `spec.published_model`, or to our
    only model. Raises MeltpointError if no method matches.
    """
    if spec.published is None:
        return cells, cells[:0].assign(matched="")
    is_published = cells["model"] == "published"
    measured, published = cells[~is_published], cells[is_published]
    if of_several_models(published):
        model_of = {theirs: ours for ours, theirs in spec.published_models.items()}
        published = published.assign(model=published["of"].map(model_of)).dropna(subset="model")
    else:
        published = published.assign(model=spec.published_model or measured["model"].iloc[0])
    matched = published["method"].str.lower().map(_names_by_method(measured, spec))
    if not matched.notna().any():
        raise MeltpointError(
            f"published: {spec.published} has none of the figure's methods; it has "
            f"{', '.join(dict.fromkeys(published['method']))}"
        )
    return measured, published.assign(matched=matched).dropna(subset="matched")


def _names_by_method(cells: pd.DataFrame, spec: Compared) -> dict[str, str]:
    """Our names, by methods and labels in lower case."""
    first = cells.drop_duplicates("method")
    names = {m.lower(): name for name, m in zip(first["name"], first["method"], strict=True)}
    known = set(cells["name"])
    return names | {label.lower(): name for name, label in spec.labels.items() if name in known}


def draw(ax: Axes, published: pd.DataFrame, look: dict) -> None:
    """Draws a line for each published method at numeric sparsities, in the colour of ours."""
    placed = published[published["x"].notna() & np.isfinite(published["value"])]
    for name, cells in placed.sort_values("x").groupby("matched", sort=False):
        color, marker = look[name]
        ax.plot(cells["x"], cells["value"], color=color, marker=marker, **LOOK)
        note(ax, cells["x"], cells["value"], "published " + cells["tooltip"])


def handles(published: pd.DataFrame, look: dict) -> list[Line2D]:
    """Legend handles of the published curves."""
    lines = []
    for name, cells in published.groupby("matched", sort=False):
        color, marker = look[name]
        label = f"{cells['method'].iloc[0]} (published)"
        lines.append(Line2D([], [], color=color, marker=marker, label=label, **LOOK))
    return lines
