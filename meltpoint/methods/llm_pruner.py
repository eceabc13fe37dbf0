"""LLM-Pruner: heads and neurons of least importance to the loss are cut with all that depends on them.

A weight w with gradient g of the mean loss has the importance ``|w g|`` (param_first), ``|w^2 d|``
(param_second) or ``|w g - w^2 d / 2|`` (param_mix), with d the squared gradient of a window's loss,
averaged over windows. That of a channel of a linear is the sum over its weights; with vectorize it is
``|sum w g|``, with l1 and l2 the sum of ``|w|^p``. Channels that depend on each other are scored
together: rows of q, k and v with columns of o, rows of gate and up with columns of down.

Of C channels, C - floor(C (1 - s)) are too many. That many neurons go, the least important first.
As many heads, of width h, go as fit into these channels. So a level that would cut less than a head
leaves attention as it is. A layer keeps at least one head and one neuron.

With `steps` the level is reached in that many equal steps, each with new gradients. With
`scope=global` the units of all layers compete, and a head counts as much as a neuron: units that
are not above a common threshold go. One search gives the scores for all levels, except those of
later steps.

Where query heads share key and value heads, a group is cut as one, or with `expand_kv=true` each head
by itself. `official=true` sets `fold_across_heads`: the authors' code adds the scores of query head a
to those of key head a modulo their number K, which serves other query heads.

With `structure=channelwise` channels of the residual stream are cut, the same in all layers: columns of
embeddings, q, k, v, gate, up and head, rows of o and down, entries of the norms. A channel's score is
the sum over all of these. Of d channels d - floor(d (1 - s)) go; norms divide by the width that is
left.

Ma, Fang and Wang, "LLM-Pruner: On the Structural Pruning of Large Language Models", NeurIPS 2023.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule
from meltpoint.methods import _llm_pruner_selection
from meltpoint.methods._llm_pruner_blocks import expand, scored_blocks
from meltpoint.methods._llm_pruner_scores import member_scores, unit_scores
from meltpoint.methods._llm_pruner_settings import Settings
from meltpoint.methods._unit_selection import Size, check_cut
from meltpoint.methods._units import Units, cut_units
from meltpoint.methods.contract import Block, Context, Statistics

if TYPE_CHECKING:
    from meltpoint.model.model_parts import ModelParts

channels = LazyModule("meltpoint.methods._llm_pruner_channels")

__all__ = ["Settings"]

kind = "structured"
levels = (Sparsity,)
env = "torch"
needs_gradients = True
search_settings = ("importance", "expand_kv", "structure")
search_format = "npz"


def calibrated(level: Sparsity, settings: Settings) -> bool:
    """True if later steps need gradients of their own; those of the first step are in the search."""
    return settings.calibrated and settings.steps > 1


def rounds(settings: Settings) -> int:
    """Number of steps, each with a search of its own."""
    return settings.steps


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Units of each block, and scores of the channels of their linears, an array of each.

    With `structure=channelwise` the scores of the residual stream's channels.
    """
    if settings.structure == "channelwise":
        return {"channels": channels.scores(source, settings, context)}
    units: dict[int, dict[str, int]] = {}
    found: dict[str, Any] = {}
    for index, module, gradients in scored_blocks(source, settings, context, units):
        scores = member_scores(module, gradients, settings.importance)
        found |= {f"{index}.{name}": array for name, array in scores.items()}
    return {"units": [units[index] for index in sorted(units)], **found}


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Cuts the block's heads and neurons that were selected, or the stream's channels, in place."""
    if settings.structure == "channelwise":
        channels.compress_block(block, level, settings)
        return
    if block.index == 0:
        block.memory["kept"] = _select(block, level, settings)
    kept = block.memory["kept"][block.index]
    expand(block.module, settings)
    cut_units(block.module, kept.get("attention"), kept.get("mlp"))


def finish(parts: "ModelParts", memory: dict[str, Any]) -> None:
    """Cuts the residual stream's channels around the blocks, if they were cut in the blocks."""
    if "channels" in memory:
        channels.cut_around(parts, memory["channels"])


def _select(block: Block, level: Sparsity, settings: Settings) -> list[dict]:
    """For each block the masks of the units to keep; raises NotApplicable if none would be cut."""
    units = [Units(**facts) for facts in block.search["units"]]
    initial = block.memory.setdefault("initial", units)
    block.memory["step"] = block.memory.get("step", 0) + 1
    scores = [{} for _ in units]
    for index in settings.chosen(len(units)):
        scores[index] = unit_scores(
            block.search, index, units[index], settings.importance, settings.fold_across_heads
        )
    dense, before = block.parameters
    size = Size(dense, before + sum(facts.added for facts in units))
    kept = _llm_pruner_selection.select(scores, units, initial, level.fraction, size, settings)
    if block.memory["step"] == settings.steps:
        total = sum(
            x.count_of(kind) for x, parts in zip(initial, kept, strict=True) for kind in parts
        )
        left = sum(int(mask.sum()) for parts in kept for mask in parts.values())
        check_cut(f"llm_pruner@{level}", total, left)
    return kept
