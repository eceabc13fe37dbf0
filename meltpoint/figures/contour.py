"""Chains of pruning and then quantization: perplexity over both, and the best trade-off."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.levels import level_label, nominal_bits
from meltpoint.analysis.quantities import Quantity, quantity
from meltpoint.chain import Sparsity, Step, parse_chain, row_name
from meltpoint.errors import MeltpointError
from meltpoint.figures.axes import in_rows
from meltpoint.figures.legend import LEGEND_ROW
from meltpoint.figures.panels import grid
from meltpoint.figures.style import FAINT, RC
from meltpoint.figures.surface import Surface, color_bar, draw_front, draw_surface, norm_of
from meltpoint.text import reading

HEIGHT = 0.82
# As many sparsities as can be labelled one by one.
FEW = 8
# What stands for the bits of dense weights, where bits are nominal.
DENSE_BITS = 16.0
STEPS = ("prune", "sparsity", "quantize", "scheme", "bits")
NOMINAL = Quantity("nominal bits per weight", "")
ABSENT = {"facecolor": "#F4F4F4", "edgecolor": "#CFCFCF", "hatch": "////", "linewidth": 0}


def draw_contour(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec) -> Figure:
    """A panel per model and pair of methods: filled contours of log perplexity, dots where measured.

    Along x lies the sparsity of the pruning step, along y the bits of the quantization step: nominal,
    or an evaluation (`spec.y`) of its least pruned chain. Chains of one step alone are the margins,
    at sparsity 0 and at dense bits. The best trade-off is between perplexity and the evaluation, or
    nominal bits times the weights that are left. What is not applicable or not finite is hatched.
    Raises MeltpointError where fewer than two sparsities and two bit widths are there.
    """
    what = quantity(scores_named(frame, spec.value))
    cells = prepare(frame, spec)
    size = NOMINAL if spec.y == "level" else quantity(scores_named(frame, spec.y))
    pairs = cells.loc[cells["two"], ["model", "prune", "quantize"]].drop_duplicates()
    panels = list(pairs.itertuples(index=False, name=None))
    tables = [surface(cells, *panel, spec, what) for panel in panels]
    norm = norm_of(np.concatenate([table.ppl.ravel() for table in tables]))
    with mpl.rc_context(RC):
        rows, across = grid(len(panels))
        height = rows * HEIGHT * spec.width + 2 * LEGEND_ROW
        figure = Figure((across * spec.width + 0.6, height), layout="constrained")
        axes = in_rows(figure, len(panels))
        several = len(pairs["model"].unique()) > 1
        for ax, table, (model, prune, quantize) in zip(axes, tables, panels, strict=True):
            filled = draw_panel(ax, table, norm, nominal=spec.y == "level")
            ax.set_xlabel(f"sparsity ({spec.labels.get(prune, prune)})")
            ax.set_ylabel(f"{spec.labels.get(quantize, quantize)}: {size}")
            ax.set_title(model if several else "")
        color_bar(figure, filled, axes, str(what))
        legend(figure, axes[0], tables)
    return figure


def prepare(frame: pd.DataFrame, spec) -> pd.DataFrame:
    """The chains of at most one pruning and then one quantization step, with what each step is.

    `size` is what is along y, NaN for nominal bits.
    """
    cells = scores_named(frame, spec.value).reset_index(drop=True)
    steps = pd.DataFrame(map(two_steps, cells["chain"], cells["kind"]), columns=list(STEPS))
    cells = pd.concat([cells, steps], axis=1).dropna(subset="prune")
    cells["two"] = (cells["prune"] != "") & (cells["quantize"] != "")
    sizes = scores_named(frame, spec.y).query("status == 'ok'")
    sizes = sizes.set_index(["model", "chain"])["value"] / quantity(sizes).factor
    places = pd.MultiIndex.from_frame(cells[["model", "chain"]])
    return cells.assign(size=sizes.reindex(places).to_numpy(float) if len(sizes) else np.nan)


def two_steps(chain: str, kind: str) -> dict:
    """A chain as its pruning and its quantization step, "" where one is left out; None for others."""
    steps = parse_chain(chain)
    pruning = [step for step in steps[:1] if isinstance(step.level, Sparsity)]
    others = steps[len(pruning) :]
    if len(others) > 1 or (others and kind != "quantization"):
        return dict.fromkeys(STEPS)
    prune, quantize = pruning[0] if pruning else None, others[0] if others else None
    level = "" if quantize is None or quantize.level is None else str(quantize.level)
    sparsity = prune.level.fraction if prune else 0.0
    bits = nominal_bits(level, quantize.method) if quantize else DENSE_BITS
    values = name_of(prune), sparsity, name_of(quantize), level, bits
    return dict(zip(STEPS, values, strict=True))


def name_of(step: Step | None) -> str:
    return row_name(step.method, step.settings) if step else ""


def surface(cells: pd.DataFrame, model: str, prune: str, quantize: str, spec, what) -> Surface:
    """The cells of one pair of methods with the margins that are measured, most bits first."""
    cells = cells[cells["model"] == model]
    both = cells[(cells["prune"] == prune) & (cells["quantize"] == quantize)]
    pruned = cells[(cells["prune"] == prune) & (cells["quantize"] == "")]
    quantized = cells[(cells["prune"] == "") & (cells["quantize"] == quantize)]
    pruned = pruned[pruned["sparsity"].isin(both["sparsity"])]
    quantized = quantized[quantized["scheme"].isin(both["scheme"])]
    dense = cells[(cells["prune"] == "") & (cells["quantize"] == "")]
    corner = dense if len(pruned) and len(quantized) else dense[:0]
    own = pd.concat([corner, pruned, quantized, both]).sort_values("sparsity", kind="stable")
    own["scheme"] = own["scheme"].where(own["quantize"] != "", "dense")
    bits = own["bits"] if spec.y == "level" else own["size"]
    least_pruned = bits.groupby(own["scheme"]).first().sort_values(ascending=False)
    own["cost"] = own["bits"] * (1 - own["sparsity"]) if spec.y == "level" else own["size"]
    own["value"] = own["value"].where(own["status"] == "ok")
    own["says"] = [say(cell, spec, what) for cell in own.to_dict("records")]
    grid = own.set_index(["scheme", "sparsity"])[["value", "cost", "says"]]
    wide = grid.unstack().loc[least_pruned.index]  # noqa: PD010
    if min(wide["value"].shape) < 2 or not np.isfinite(own["value"]).any():
        raise MeltpointError(
            f"A contour needs two sparsities of {prune} and two bit widths of {quantize} at least."
        )
    ratios = wide["value"].columns.to_numpy(float)
    ppl, sizes = wide["value"].to_numpy(float), wide["cost"].to_numpy(float)
    names = [s if s == "dense" else level_label(s) for s in wide.index]
    return Surface(names, ratios, least_pruned.to_numpy(float), ppl, sizes, wide["says"].to_numpy())


def say(cell: dict, spec, what: Quantity) -> str:
    """A cell's text: what it is of, and its perplexity or why it has none."""
    scheme = cell["scheme"] if cell["scheme"] == "dense" else level_label(cell["scheme"])
    method = spec.labels.get(cell["quantize"], cell["quantize"])
    title = f"sparsity {cell['sparsity']:g}, {method} {scheme}".replace("  ", " ")
    if cell["status"] != "ok":
        return f"{title}\n{cell['status'].replace('_', ' ')}: {cell['reason']}"
    size = "" if np.isnan(cell["size"]) else f"\n{cell['size']:.4g} ({spec.y})"
    return f"{title}\n{what} {reading(cell['value'], cell['stderr'])}{size}"


def draw_panel(ax: Axes, table: Surface, norm, nominal: bool):
    """The surface on a hatched ground, with its front; returns what a colour bar is of."""
    ax.patch.set(**ABSENT)
    names = zip(table.schemes, table.bits, strict=True)
    ticks = [s if nominal else f"{s} ({b:.3g})" for s, b in names]
    filled = draw_surface(ax, table, norm, ticks)
    if len(table.ratios) <= FEW:
        ax.set_xticks(table.ratios, [f"{ratio:g}" for ratio in table.ratios])
    x, y = np.meshgrid(table.ratios, table.bits)
    absent = ~np.isfinite(table.ppl)
    if absent.any():
        ax.plot(x[absent], y[absent], "x", color=FAINT, markersize=3.5, clip_on=False)
    draw_front(ax, table)
    return filled


def legend(figure: Figure, ax: Axes, tables: list[Surface]) -> None:
    """Below: the front, and the hatching where there is any."""
    handles, labels = ax.get_legend_handles_labels()
    if any(not np.isfinite(table.ppl).all() for table in tables):
        handles.append(Patch(**ABSENT))
        labels.append("not applicable, or not finite")
    columns = max(1, int(figure.get_figwidth() / 2.2))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
