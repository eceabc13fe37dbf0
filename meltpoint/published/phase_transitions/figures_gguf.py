"""GGUF ladders: ten models, each a line through its schemes."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.data.published.frames import read
from meltpoint.figures.axes import scale_bits, scale_x, scale_y
from meltpoint.figures.ladder import draw_ladder
from meltpoint.figures.style import FAINT, RC, looks

PANELS = {
    "ppl": "perplexity",
    "arc_e": "ARC-e accuracy",
    "arc_c": "ARC-c accuracy",
    "mmlu": "MMLU accuracy",
}
# Of four answers one.
CHANCE = 0.25
SHORT = {
    "DeepSeek-R1-Distill-Qwen-14B": "R1-Qwen-14B",
    "DeepSeek-R1-Distill-Llama-8B": "R1-Llama-8B",
}


def over_bits() -> Figure:
    """Four panels over nominal bits per weight."""
    return ladders("bits", "nominal bits per weight")


def over_size() -> Figure:
    """Four panels over the size of the file."""
    return ladders("size_gb", "size (GB)")


def ladders(x: str, label: str) -> Figure:
    """A panel per measured quantity over a column of the table, a line per model."""
    table = read("mpt_gguf")
    look = looks(table["model"].unique(), {})
    with mpl.rc_context(RC):
        figure = Figure((6.9, 4.6), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True).flat
        for ax, (column, title) in zip(axes, PANELS.items(), strict=True):
            draw_panel(ax, table, x, column, look)
            ax.set_ylabel(title)
        for ax in axes[2:]:
            ax.set_xlabel(label)
        (scale_bits if x == "bits" else scale_x)(axes[0], table[x])
        scale_y(axes[0], table["ppl"])
        lines, labels = axes[0].get_legend_handles_labels()
        figure.legend([c[0] for c in lines], labels, loc="outside lower center", ncols=5)
    return figure


def draw_panel(ax: Axes, table: pd.DataFrame, x: str, column: str, look: dict) -> None:
    """A line per model that has the column, with errors where they are published."""
    if column != "ppl":
        ax.axhline(CHANCE, color=FAINT, linestyle=":", linewidth=0.8, zorder=1)
    cells = table[table[column].notna()].sort_values(x, kind="stable")
    tooltips = [tooltip(row, column) for row in cells.to_dict("records")]
    error = cells["ppl_stderr"] if column == "ppl" else 0.0
    cells = cells.assign(x=cells[x], value=cells[column], stderr=error, tooltip=tooltips)
    for model in table["model"].unique():
        own = cells[cells["model"] == model]
        if len(own):
            draw_ladder(ax, own, look[model], SHORT.get(model, model))


def tooltip(row: dict, column: str) -> str:
    """Text of a point: the model, the scheme, what was measured, and the size."""
    error = f" ± {row['ppl_stderr']:g}" if column == "ppl" else ""
    measured = f"{PANELS[column]} {row[column]:g}{error}"
    return f"{row['model']} {row['scheme']}\n{measured}\n{row['size_gb']:g} GB"
