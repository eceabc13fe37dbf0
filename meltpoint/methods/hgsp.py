"""H-GSP: attention groups and MLP channels of all blocks compete in one global knapsack.

A unit is a key and value head with its g query heads (rows of q, k and v, columns of o), or a neuron
of the MLP. Its importance is ``I = sum |W G|`` over its weights. G is the sum over batches of four
windows of the gradients of their mean losses. Its cost c is the number of its weights. Units go by
ascending ``I / c * M`` for as long as their costs sum to at most the level times the parameters of the
model, embeddings and head included; at least one goes. ``M = ln(1 + D)^temperature``, and D is the rise
of the loss, on the first fifth of the windows, without a part of the model:

- `prior=taylor`: M = 1, and no rise is measured.
- `prior=layerwise`: without the unit's block.
- `prior=blockwise`: without the unit's attention or MLP, or without its block where the block's rise is
  below `tau`.

As published, an attention or MLP that is left out returns its input, the normalised hidden state.
Where a loss falls, ln(1 + D) is negative, and the block's most important units go first. Padded tokens
(`sampling: first`) count in the losses unless `pad=mask`. The published losses are of the evaluation's
text: `loss_split=test` measures them on the calibration `loss_calibration`, which a study declares over
the corpus of its evaluation.

An attention or MLP without units becomes absent, and its norms stay. A block without either becomes an
identity. Gradients take about four passes. The rises take up to 0.3 passes per block. They hold the
hidden states of all models at once, 0.6 x blocks x windows x tokens x width; the walk backwards holds
those at the blocks' borders, blocks x windows x tokens x width.

The checkpoint's folder `analysis` holds `pruning_comparison.json`, `gradient_diagnosis.json`,
`layer_statistics.json`, `losses.json` and `global_group_table.csv`. The search holds importances, and
statistics of each parameter's gradients after each batch, in float32. Other priors start from it.

Of the public repository song17122328/llama-pruning.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods.contract import Block, Context, Statistics
from meltpoint.methods.settings import CalibratedSettings, ExpandableSettings, ShapeSettings

kind = "structured"
levels = (Sparsity,)
env = "torch"
needs_gradients = True
search_format = "npz"
search_settings = ("prior", "ablation", "loss_split", "loss_calibration", "pad", "expand_kv")
reports = LazyModule("meltpoint.methods._hgsp_analysis")
gradients = LazyModule("meltpoint.methods._hgsp_gradients")
losses = LazyModule("meltpoint.methods._hgsp_losses")
selection = LazyModule("meltpoint.methods._hgsp_selection")
units = LazyModule("meltpoint.methods._hgsp_units")
surgery = LazyModule("meltpoint.model.surgery")


class Settings(CalibratedSettings, ShapeSettings, ExpandableSettings):
    """Settings of the published search."""

    prior: Literal["taylor", "layerwise", "blockwise"] = Field(
        "taylor",
        description="Part whose rise of the loss weighs a unit: none, its block, or its own.",
    )
    tau: Annotated[float, Field(allow_inf_nan=False)] | Literal["quartile"] = Field(
        0.0,
        description="With blockwise: units of a block whose rise of the loss is below this are weighed "
        "by that of the block. quartile: the blocks' first quartile.",
    )
    temperature: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Exponent of ln(1 + rise of the loss)."
    )
    ablation: Literal["norm", "zero"] = Field(
        "norm",
        description="Output of an attention or MLP that is left out: its input, or zeros.",
    )
    loss_split: Literal["calibration", "test"] = Field(
        "calibration",
        description="Text that rises of the loss are measured on: the calibration's own, or that of "
        "`loss_calibration`, which as published is the evaluation's.",
    )
    loss_calibration: str = Field(
        "test", description="With loss_split=test: name of the study's calibration for the losses."
    )
    pad: Literal["count", "mask"] = Field(
        "count",
        description="Whether tokens of padding `count` in the losses, as published, or are left out.",
    )

    @property
    def validation_calibration(self) -> str | None:
        """Name of the calibration on which losses are measured; None if it is the step's own."""
        other = self.prior != "taylor" and self.loss_split == "test"
        return self.loss_calibration if other else None

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: those of losses that are not measured."""
        unused = {"loss_calibration"} if self.loss_split == "calibration" else set()
        if self.prior == "taylor":
            return {"tau", "temperature", "ablation", "loss_split", "loss_calibration"}
        return unused | ({"tau", "ablation"} if self.prior == "layerwise" else set())


def calibrated(level: Sparsity, settings: Settings) -> bool:
    """False: only the search reads the calibration."""
    return False


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Units with their importances, statistics of gradients, and rises of the loss."""
    found = {} if settings.prior == "taylor" else losses.measure(source, settings, context)
    if context.search is not None:
        return found | context.search
    lengths = context.lengths if settings.pad == "mask" else None
    prepare = surgery.expand_kv if settings.expand_kv else None
    return found | gradients.measure(source, context.windows, lengths, context.compute, prepare)


def earlier_search(settings: Settings) -> dict[str, Any] | None:
    """Settings of the search with `prior=taylor`, whose importances other priors share, or None."""
    return None if settings.prior == "taylor" else {"prior": "taylor"}


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Removes the block's share of the units of lowest score, in place.

    Raises NotApplicable for a level that leaves no unit, or that no number of units comes near to.
    """
    if block.index == 0:
        block.memory |= selection.select(block, level, settings)
    if settings.expand_kv:
        surgery.expand_kv(block.module)
    kept = block.memory["kept"][block.index]
    units.cut(block.module, {name: torch.from_numpy(index) for name, index in kept.items()})
    block.memory["after"].append(units.counts(block.module))


def analysis(memory: dict[str, Any]) -> dict[str, Any]:
    """Files on the cut: parameters by layer, extreme layers with gradients, losses, all units."""
    found = memory["search"]
    before = [facts["counts"] for facts in found["blocks"]]
    compared = reports.comparison(before, memory["after"], found["outer_parameters"])
    return {
        "pruning_comparison.json": compared,
        "gradient_diagnosis.json": reports.diagnosis(found, compared),
        "layer_statistics.json": reports.layer_statistics(found),
        "losses.json": reports.losses(found),
        "global_group_table.csv": reports.group_table(memory["table"], memory["removed"]),
    }
