"""Perplexities as dots in a row for each method: patterns at 50 %, and what removing more costs."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.data.published.frames import read
from meltpoint.figures.axes import scale_x
from meltpoint.figures.family_rows import ROW, Dots, draw_dots, draw_families, handles, with_heads
from meltpoint.figures.style import FAINT, INK, RC
from meltpoint.published.phase_transitions import frames

FAMILIES = ["quantization", "unstructured", "structured", "low-rank"]


# Of equal values the later dot is smaller, so that both are seen.
PATTERNS = {
    "0.5": Dots("unstructured", "#0072B2", size=7.0, edge=0),
    "4of8": Dots("4:8", "#E69F00", size=5.0, edge=0),
    "2of4": Dots("2:4", "#D55E00", size=3.2, edge=0),
}
HALF, AT_HALF = 0.5, Dots("", INK)
# Fractions removed from here on (up to the next).
BEYOND = {
    0.6: Dots("60 %", "#E69F00"),
    0.7: Dots("70–75 %", "#D55E00", "s"),
    0.8: Dots("80–81 %", "#882255", "D"),
    0.87: Dots("87.5 %", "#222222", "v"),
}


def patterns() -> Figure:
    """Figure of the cost of patterns at 50 %: a line per method, and a dot for each pattern on it."""
    tables = {"default calibration": frames.by_level(2), "calibrated on PTB": frames.by_level(3)}
    wide = {title: with_patterns(cells) for title, cells in tables.items()}
    with mpl.rc_context(RC):
        figure = Figure((3.35, 3.4), layout="constrained")
        heights = [len(methods) for methods in wide.values()]
        axes = figure.subplots(2, 1, sharex=True, height_ratios=heights)
        for ax, (title, methods) in zip(axes, wide.items(), strict=True):
            draw_patterns(ax, methods)
            ax.set_title(title, loc="left", fontsize=7.5)
        scale_x(axes[0], pd.concat(list(wide.values())).melt()["value"])
        axes[1].set_xlabel("perplexity")
        figure.legend(handles=handles(PATTERNS.values()), loc="outside lower center", ncols=3)
    return figure


def with_patterns(cells: pd.DataFrame) -> pd.DataFrame:
    """Perplexity by method and level, for methods with a pattern, the worst first."""
    wide = cells.pivot_table(index="method", columns="level", values="value")[list(PATTERNS)]
    return wide[wide[["2of4", "4of8"]].notna().any(axis=1)].sort_values("0.5", ascending=False)


def draw_patterns(ax: Axes, wide: pd.DataFrame) -> None:
    """The methods of one table."""
    rows = list(wide.index)
    ax.hlines(rows, wide.min(axis=1), wide.max(axis=1), color=FAINT, linewidth=0.8, zorder=1)
    for level, dots in PATTERNS.items():
        tooltips = [f"{m}, {dots.label}\nperplexity {v:.4f}" for m, v in wide[level].items()]
        cells = pd.DataFrame({"row": rows, "value": wide[level].to_numpy(), "tooltip": tooltips})
        draw_dots(ax, cells.dropna(), rows, dots)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.grid(visible=False, axis="y")


def regimes() -> Figure:
    """A row per method, by family; left at 50 %, right beyond. 16 bits less 8 are 50 % as well."""
    cells = removed()
    rows = order(cells)
    at_half, beyond_half = np.isclose(cells["removed"], HALF), cells["removed"] >= min(BEYOND)
    with mpl.rc_context(RC):
        figure = Figure((6.9, ROW * len(rows) + 0.8), layout="constrained")
        half, beyond = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.5])
        draw_dots(half, cells[at_half], rows, AT_HALF)
        for (low, dots), high in zip(BEYOND.items(), [*BEYOND, 1.0][1:], strict=True):
            own = cells[cells["removed"].between(low, high, inclusive="left")]
            draw_dots(beyond, own, rows, dots)
        for ax, shown, title in (
            (half, at_half, "50 % removed"),
            (beyond, beyond_half, "60 % and more removed"),
        ):
            scale_x(ax, cells.loc[shown, "value"].dropna())
            ax.set_xlabel("perplexity")
            ax.set_title(title, fontsize=7.5)
            draw_families(ax, rows)
        # Room for what is published as nan.
        beyond.set_xlim(right=4 * beyond.get_xlim()[1])
        beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        signs = handles(BEYOND.values())
        beyond.legend(handles=signs, **beside, title="removed", title_fontsize=7)
    return figure


def removed() -> pd.DataFrame:
    """Cells by family, method and the fraction that is removed: of the weights, or of 16 bits."""
    pruned = pd.concat([frames.by_level(1), frames.by_level(2), frames.lowrank()])
    pruned = pruned[pruned["requested"].notna() & ~pruned["level"].str.contains("of")]
    pruned = pruned[pruned["evaluation"] == frames.EVALUATION]
    pruned = pruned.assign(
        family=pruned["kind"], removed=pruned["requested"], value=pruned["value"]
    )
    quantized = read("mpt_quant_ppl").assign(family="quantization")
    quantized["value"] = quantized["ppl"]
    quantized["removed"] = 1 - quantized["bits"] / 16
    columns = ["family", "method", "removed", "value"]
    cells = pd.concat([pruned[columns], quantized[columns]], ignore_index=True)
    cells["row"] = cells["family"] + ": " + cells["method"]
    cells["tooltip"] = [
        f"{c.method}, {c.removed:.1%} removed\nperplexity {c.value:g}" for c in cells.itertuples()
    ]
    return cells[cells["removed"] >= HALF - 1e-9]


def order(cells: pd.DataFrame) -> list[str]:
    """Rows from below: families in turn, the best method on top, at the least that is removed.

    Above the methods of a family is a row with its name.
    """
    first = cells.sort_values(["removed", "value"]).drop_duplicates("row")
    family = first["family"].map(FAMILIES.index)
    by_family = first.assign(family=family).sort_values(
        ["family", "removed", "value"], kind="stable"
    )
    return with_heads(list(by_family["row"])[::-1])
