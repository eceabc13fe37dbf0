"""Contour: perplexity over the sparsity of a pruning step and the bits of a quantization step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint import methods
from meltpoint.analysis import references
from meltpoint.analysis.levels import level_label, nominal_bits
from meltpoint.chain import Sparsity, Step, parse_chain, row_name
from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import grid
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import matplotlib as mpl
from meltpoint.lazy_import import numpy as np
from meltpoint.lazy_import import pandas as pd
from meltpoint.section import ScoreName
from meltpoint.text import reading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meltpoint.analysis.quantities import Quantity
    from meltpoint.analysis.references import StudyView
    from meltpoint.figures.surface import Surface

# Height of a panel as a share of its width.
HEIGHT = 0.82
# Bits of dense weights, where bits are nominal.
DENSE_BITS = 16.0
STEPS = ("prune", "sparsity", "quantize", "scheme", "bits")


class Spec(FigureSpec):
    """Filled contours of a perplexity, for chains of a pruning step and then a quantization step.

    There is a panel for each model and pair of methods, with a dot at each measured cell. Chains of one
    of the two steps are its margins. `labels` name the steps.
    """

    kind: Literal["contour"] = Field(description="Kind of the figure.")
    y: ScoreName = Field(
        "level",
        description="Vertical axis: `level` for the nominal bits of the quantization step, or an "
        "evaluation such as the bits per weight.",
    )

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Pairs of a key and the score that it names."""
        return [("value", self.value), *([("y", self.y)] if self.y != "level" else [])]

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        bits = "nominal bits per weight" if self.y == "level" else self.y
        return f"over sparsity and {bits}"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the steps that labels name, the perplexity, and that there are chains of both steps."""
    steps = references.step_names_of(study, spec)
    references.check_names(f"{key}.labels", spec.labels, steps, "step of it")
    if not study.perplexity(spec.value):
        raise MeltpointError(f"{key}.value: a contour is of a perplexity")
    chains = pruned_then_quantized(spec, study)
    if not chains:
        raise MeltpointError(
            f"{key}.source: no chain of {spec.source} is a pruning step at a sparsity and then a "
            "quantization step, such as sparsegpt@0.5+gptq@4bit"
        )
    if spec.y == "level":
        check_bits(key, {steps[1]: None for steps in chains})


def check_bits(key: str, steps: dict[Step, None]) -> None:
    """Checks that no two levels of a quantization method have equal nominal bits.

    Raises MeltpointError for such levels, and for a level without nominal bits.
    """
    levels: dict[tuple, str] = {}
    for step in steps:
        level = "" if step.level is None else str(step.level)
        bits = nominal_bits(level, step.method)
        first = levels.setdefault((step.method, step.settings, bits), level)
        if math.isnan(bits) or first != level:
            raise MeltpointError(
                f"{key}.y: {step} has no nominal bits of its own; name an evaluation such as bits "
                "per weight"
            )


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """A panel for each model and pair of methods."""
    pairs = {(name_of(a), name_of(b)) for a, b in pruned_then_quantized(spec, study)}
    return grid(len(study.groups[spec.source].models) * len(pairs))


def pruned_then_quantized(spec: Spec, study: StudyView) -> list[tuple[Step, Step]]:
    """Chains of a pruning step at a sparsity and then a quantization step."""
    return [
        steps
        for steps in references.chains_of(study, spec)
        if len(steps) == 2
        and isinstance(steps[0].level, Sparsity)
        and methods.find(steps[1].method).kind == "quantization"
    ]


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel per model and pair of methods: filled contours of log perplexity, dots where measured.

    Chains of a single step are the margins, at sparsity 0 and at dense bits. If `spec.y` is an
    evaluation, a level is drawn at the value of its least pruned chain. The best trade-off is between
    perplexity and that evaluation, or else nominal bits times the fraction of weights left. Cells that
    are not applicable or not finite are hatched. Raises MeltpointError for fewer than two sparsities or
    bit widths.
    """
    from matplotlib.figure import Figure

    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import Quantity, quantity
    from meltpoint.figures import surface
    from meltpoint.figures.axes import in_rows
    from meltpoint.figures.legend import LEGEND_ROW
    from meltpoint.figures.style import RC

    label = quantity(scores_named(frame, spec.value))
    nominal = spec.y == "level"
    y_label = (
        Quantity("nominal bits per weight", "")
        if nominal
        else quantity(scores_named(frame, spec.y))
    )
    cells = select_cells(frame, spec)
    pairs = cells.loc[cells["is_pair"], ["model", "prune", "quantize"]].drop_duplicates()
    places = list(pairs.itertuples(index=False, name=None))
    tables = [surface_of(cells, *place, spec, label) for place in places]
    norm = surface.norm_of(np.concatenate([table.ppl.ravel() for table in tables]))
    with mpl.rc_context(RC):
        rows, across = grid(len(places))
        height = rows * HEIGHT * spec.width + 2 * LEGEND_ROW
        figure = Figure((across * spec.width + 0.6, height), layout="constrained")
        axes = in_rows(figure, len(places))
        several = pairs["model"].nunique() > 1
        for ax, table, (model, prune, quantize) in zip(axes, tables, places, strict=True):
            filled = surface.draw_panel(ax, table, norm, nominal)
            ax.set_xlabel(f"sparsity ({spec.labels.get(prune, prune)})")
            ax.set_ylabel(f"{spec.labels.get(quantize, quantize)}: {y_label}")
            ax.set_title(model if several else "")
        surface.color_bar(figure, filled, axes, str(label))
        surface.draw_legend(figure, axes[0], tables)
    return figure


def select_cells(frame: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Cells of chains of at most one pruning and then one quantization step, with the columns `STEPS`.

    `is_pair` is true for chains with both steps. `size` is the evaluation along y, or NaN for nominal
    bits.
    """
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity

    cells = scores_named(frame, spec.value).reset_index(drop=True)
    steps = pd.DataFrame(map(two_steps, cells["chain"], cells["kind"]), columns=list(STEPS))
    cells = pd.concat([cells, steps], axis=1).dropna(subset="prune")
    cells["is_pair"] = (cells["prune"] != "") & (cells["quantize"] != "")
    sizes = scores_named(frame, spec.y).query("status == 'ok'")
    sizes = sizes.set_index(["model", "chain"])["value"] / quantity(sizes).factor
    chains = pd.MultiIndex.from_frame(cells[["model", "chain"]])
    return cells.assign(size=sizes.reindex(chains).to_numpy(float) if len(sizes) else np.nan)


def two_steps(chain: str, kind: str) -> dict:
    """Values of the columns `STEPS` for a chain; a missing step has the name "".

    All values are None for a chain of other steps. kind: the kind of the chain's last step.
    """
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
    """Method and settings of a step; "" for none."""
    return row_name(step.method, step.settings) if step else ""


def surface_of(
    cells: pd.DataFrame, model: str, prune: str, quantize: str, spec: Spec, label: Quantity
) -> Surface:
    """The surface of one pair of methods and its measured margins, most bits first.

    Raises MeltpointError for fewer than two sparsities or bit widths.
    """
    from meltpoint.figures.surface import Surface

    cells = with_margins(cells[cells["model"] == model], prune, quantize)
    nominal = spec.y == "level"
    bits = cells["bits"] if nominal else cells["size"]
    least_pruned = bits.groupby(cells["scheme"]).first().sort_values(ascending=False)
    cells["cost"] = cells["bits"] * (1 - cells["sparsity"]) if nominal else cells["size"]
    cells["value"] = cells["value"].where(cells["status"] == "ok")
    cells["tooltip"] = [tooltip(cell, spec, label) for cell in cells.to_dict("records")]
    columns = cells.set_index(["scheme", "sparsity"])[["value", "cost", "tooltip"]]
    wide = columns.unstack().loc[least_pruned.index]
    if min(wide["value"].shape) < 2 or not np.isfinite(cells["value"]).any():
        raise MeltpointError(
            f"A contour needs two sparsities of {prune} and two bit widths of {quantize} at least."
        )
    sparsities = wide["value"].columns.to_numpy(float)
    ppl, sizes = wide["value"].to_numpy(float), wide["cost"].to_numpy(float)
    schemes = [s if s == "dense" else level_label(s) for s in wide.index]
    tooltips = wide["tooltip"].to_numpy()
    return Surface(schemes, sparsities, least_pruned.to_numpy(float), ppl, sizes, tooltips)


def with_margins(cells: pd.DataFrame, prune: str, quantize: str) -> pd.DataFrame:
    """A model's cells of both methods, with the margins, sorted by sparsity.

    A margin is a chain of one of the two steps, at a level that also occurs in a chain of both.
    """
    both = cells[(cells["prune"] == prune) & (cells["quantize"] == quantize)]
    pruned = cells[(cells["prune"] == prune) & (cells["quantize"] == "")]
    quantized = cells[(cells["prune"] == "") & (cells["quantize"] == quantize)]
    pruned = pruned[pruned["sparsity"].isin(both["sparsity"])]
    quantized = quantized[quantized["scheme"].isin(both["scheme"])]
    dense = cells[(cells["prune"] == "") & (cells["quantize"] == "")]
    corner = dense if len(pruned) and len(quantized) else dense[:0]
    all_cells = pd.concat([corner, pruned, quantized, both]).sort_values("sparsity", kind="stable")
    all_cells["scheme"] = all_cells["scheme"].where(all_cells["quantize"] != "", "dense")
    return all_cells


def tooltip(cell: dict, spec: Spec, label: Quantity) -> str:
    """Tooltip of a cell: its levels, and its perplexity or the reason for having none."""
    scheme = cell["scheme"] if cell["scheme"] == "dense" else level_label(cell["scheme"])
    method = spec.labels.get(cell["quantize"], cell["quantize"])
    title = f"sparsity {cell['sparsity']:g}, {method} {scheme}".replace("  ", " ")
    if cell["status"] != "ok":
        return f"{title}\n{cell['status'].replace('_', ' ')}: {cell['reason']}"
    size = "" if np.isnan(cell["size"]) else f"\n{cell['size']:.4g} ({spec.y})"
    return f"{title}\n{label} {reading(cell['value'], cell['stderr'])}{size}"
