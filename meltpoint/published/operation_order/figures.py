"""Bars of the order study's changes: a panel per metric, a row per comparison."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from meltpoint.analysis.operation_order import HEADS, METRICS, TABLES, relative_stderr
from meltpoint.figures.style import FAINT, INK, PALETTE, RC
from meltpoint.figures.tooltips import note

WIDTH, ROW = 7.0, 0.19
UP, DOWN = PALETTE[0], PALETTE[1]
WRONG = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": INK, "markersize": 4}
WRONG |= {"markeredgewidth": 0.8, "linestyle": "none"}
INTERVAL = {"fmt": "none", "ecolor": INK, "elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7}
AXES = {
    "sequence_vs_original": "change against the original (%)",
    "fine_tuning_comparison": "change by fine-tuning (%)",
    "pruning_comparison": "change by pruning (%)",
    "quantization_comparison": "change by quantization (%)",
}


def draw_changes(changes: pd.DataFrame, scores: pd.DataFrame, table: str) -> Figure:
    """The recomputed percentages of a table, with 95 % intervals where the test's size is known.

    A percentage that is wrong in the source is a hollow diamond; sequences without scores are said.
    """
    own = changes[
        (changes["table"] == table) & (changes["from_sequence"] != changes["to_sequence"])
    ]
    missing = []
    labels = list(dict.fromkeys(map(label_of, own["from_sequence"], own["to_sequence"])))
    if table == TABLES[0]:
        missing = scores.loc[~scores["applicable"], "sequence"]
        labels = [spell(sequence) for sequence in [*own["to_sequence"].unique(), *missing]]
    with mpl.rc_context(RC):
        figure = Figure((WIDTH, ROW * len(labels) + 0.9), layout="constrained")
        panels = figure.subplots(1, len(METRICS), sharex=True, sharey=True)
        for ax, metric in zip(panels, METRICS, strict=True):
            draw_metric(ax, own[own["metric"] == metric], scores.set_index("sequence")[metric])
            say_missing(ax, len(labels) - len(missing), len(labels))
            ax.set_title(HEADS[metric])
        panels[0].set_yticks(range(len(labels)), labels)
        panels[0].xaxis.set_major_locator(MultipleLocator(50))
        panels[0].set_ylim(len(labels) - 0.4, -0.6)
        panels[1].set_xlabel(AXES[table])
        legend(figure, wrong=not own["agrees"].all())
    return figure


def label_of(first: str, second: str) -> str:
    return f"{spell(first)}  to  {spell(second)}"


def spell(sequence: str) -> str:
    return sequence.replace(">", "→")


def draw_metric(ax: Axes, changes: pd.DataFrame, scores: pd.Series) -> None:
    """The bars of a metric, their values in a column at the right."""
    rows, values = np.arange(len(changes)), changes["change_pct"].to_numpy()
    first, second = (scores[changes[f"{end}_sequence"]].to_numpy() for end in ("from", "to"))
    errors = 1.96 * relative_stderr(changes["metric"].iloc[0], first, second)
    colors = np.where(values >= 0, UP, DOWN)
    ax.barh(rows, values, height=0.66, color=colors, alpha=0.85, linewidth=0)
    if np.isfinite(errors).all():
        ax.errorbar(values, rows, xerr=errors, **INTERVAL)
    ax.axvline(0, color=INK, linewidth=0.6)
    wrong = ~changes["agrees"].to_numpy()
    ax.plot(changes["published_change_pct"][wrong], rows[wrong], **WRONG, zorder=5)
    for row, value in zip(rows, values, strict=True):
        place = {"xycoords": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
        printed = f"{value:+.1f}".replace("-", "−")
        ax.annotate(printed, (1.18, row), **place, fontsize=6.5, annotation_clip=False)
    texts = [text_of(*row) for row in zip(changes.itertuples(), first, second, strict=True)]
    note(ax, values, rows, texts)
    ax.grid(axis="x")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def text_of(change, first: float, second: float) -> str:
    """What the pointer says of a bar."""
    published = "" if change.agrees else f"\npublished: {change.published_change_pct:+.2f} %"
    return (
        f"{label_of(change.from_sequence, change.to_sequence)}, {HEADS[change.metric]}\n"
        f"{first:.2f} to {second:.2f}: {change.change_pct:+.2f} %{published}"
    )


def say_missing(ax: Axes, start: int, stop: int) -> None:
    """Rows without scores, in words."""
    for row in range(start, stop):
        place = (0.5, row)
        style = {"ha": "center", "va": "center", "fontsize": 6.5, "color": FAINT}
        style |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
        ax.text(*place, "not applicable", transform=ax.get_yaxis_transform(), **style)


def legend(figure: Figure, wrong: bool) -> None:
    handles = [
        Patch(color=UP, alpha=0.85, label="higher"),
        Patch(color=DOWN, alpha=0.85, label="lower"),
        Line2D([], [], color=INK, linewidth=0.8, label="95 % interval (MMLU)"),
    ]
    if wrong:
        handles.append(Line2D([], [], label="as published, where that is wrong", **WRONG))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
