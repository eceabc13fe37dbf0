"""All methods at 50 % compression, and beyond: what a weight or a bit that is removed costs."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.data.published.frames import read
from meltpoint.figures.axes import scale_x
from meltpoint.figures.style import FAINT, INK, RC
from meltpoint.figures.tooltips import note
from meltpoint.published.phase_transitions import frames

HALF = 0.5
# Fractions removed from here on (up to the next), with their names, colours and markers.
BEYOND = {
    0.6: ("60 %", "#E69F00", "o"),
    0.7: ("70–75 %", "#D55E00", "s"),
    0.8: ("80–81 %", "#882255", "D"),
    0.87: ("87.5 %", "#222222", "v"),
}
ROW = 0.155


def regimes() -> Figure:
    """A row per method, by family; left at 50 %, right beyond. 16 bits less 8 are 50 % as well."""
    cells = removed()
    rows = order(cells)
    with mpl.rc_context(RC):
        figure = Figure((6.9, ROW * len(rows) + 0.8), layout="constrained")
        half, beyond = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.5])
        draw_rows(half, rows)
        draw_rows(beyond, rows)
        draw(half, cells[np.isclose(cells["removed"], HALF)], rows, INK, "o", "")
        edges = [*BEYOND, 1.0]
        for low, high in pairwise(edges):
            label, color, marker = BEYOND[low]
            own = cells[cells["removed"].between(low, high, inclusive="left")]
            draw(beyond, own, rows, color, marker, label)
        finish(half, cells[np.isclose(cells["removed"], HALF)], "50 % removed")
        finish(beyond, cells[cells["removed"] >= min(BEYOND)], "60 % and more removed")
        name_families(half, rows)
        # Room for what is published as nan.
        beyond.set_xlim(right=4 * beyond.get_xlim()[1])
        beyond.legend(
            loc="upper left", bbox_to_anchor=(1.0, 1.0), title="removed", title_fontsize=7
        )
    return figure


def removed() -> pd.DataFrame:
    """Cells by family, method and the fraction that is removed: of the weights, or of 16 bits."""
    pruned = pd.concat([frames.by_level(1), frames.by_level(2), frames.lowrank()])
    pruned = pruned[pruned["requested"].notna() & ~pruned["level"].str.contains("of")]
    pruned = pruned[pruned["evaluation"] == frames.EVALUATION]
    pruned = pruned.assign(family=pruned["kind"], removed=pruned["requested"], ppl=pruned["value"])
    quantized = read("mpt_quant_ppl").assign(family="quantization")
    quantized["removed"] = 1 - quantized["bits"] / 16
    columns = ["family", "method", "removed", "ppl"]
    cells = pd.concat([pruned[columns], quantized[columns]], ignore_index=True)
    return cells[cells["removed"] >= HALF - 1e-9]


def order(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Families in turn, the best method on top of its family, at the least that is removed."""
    families = ["quantization", "unstructured", "structured", "low-rank"]
    first = cells.sort_values(["removed", "ppl"]).groupby(["family", "method"], sort=False).first()
    keys = sorted(
        first.index, key=lambda k: (families.index(k[0]), *first.loc[k, ["removed", "ppl"]])
    )
    return keys[::-1]


def draw_rows(ax: Axes, rows: list[tuple[str, str]]) -> None:
    """Names, and a line between families."""
    families = [family for family, _ in rows]
    ax.set(yticks=range(len(rows)), yticklabels=[m for _, m in rows], ylim=(-0.7, len(rows) - 0.3))
    for y, (below, above) in enumerate(pairwise(families)):
        if below != above:
            ax.axhline(y + 0.5, color=FAINT, linewidth=0.5)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)


def name_families(ax: Axes, rows: list[tuple[str, str]]) -> None:
    """At the right edge, beside the best method of each."""
    top = {family: y for y, (family, _) in enumerate(rows)}
    for family, y in top.items():
        ax.text(
            0.98,
            y,
            family,
            transform=ax.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=6.5,
            color="#5F5F5F",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )


def draw(ax: Axes, cells: pd.DataFrame, rows: list, color: str, marker: str, label: str) -> None:
    """One marker for each cell; what is published as nan stands at the right edge."""
    y = np.array([rows.index((c.family, c.method)) for c in cells.itertuples()])
    known = np.isfinite(cells["ppl"])
    style = {"color": color, "markeredgecolor": "white", "markeredgewidth": 0.4}
    ax.plot(cells["ppl"][known], y[known], marker, label=label, linestyle="none", **style)
    says = [
        f"{c.method}, {c.removed:.1%} removed\nperplexity {c.ppl:g}" for c in cells.itertuples()
    ]
    note(ax, cells["ppl"], y, says)
    for place in y[~known]:
        ax.text(
            0.995,
            place,
            "nan",
            transform=ax.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=6,
            color=color,
        )


def finish(ax: Axes, cells: pd.DataFrame, title: str) -> None:
    scale_x(ax, cells["ppl"].dropna())
    ax.set_xlabel("perplexity")
    ax.set_title(title, fontsize=7.5)
