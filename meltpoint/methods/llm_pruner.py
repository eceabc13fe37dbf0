"""LLM-Pruner: heads and neurons of least importance to the loss are cut with all that depends on them.

A weight w with gradient g of the mean loss has the importance ``|w g|`` (param_first), ``|w^2 d|``
(param_second) or ``|w g - w^2 d / 2|`` (param_mix), with d the squared gradient of a window's loss,
averaged over windows. That of a channel of a linear is the sum over its weights; with vectorize it is
``|sum w g|``, with l1 and l2 the sum of ``|w|^p``. Channels that depend on each other are scored
together: rows of q, k and v with columns of o, rows of gate and up with columns of down.

Of C channels C - floor(C (1 - s)) are too many. Of the neurons so many go, the least important first.
Of the heads, of width h, go as many as fit into these channels. So a level that would cut less than a
head leaves attention as it is. A layer keeps at least one head and one neuron.

With `steps` the level is reached in as many equal steps, each with new gradients. With `scope=global`
the units of all layers compete, and a head counts as much as a neuron: those that are not above the one
threshold go. Scores are a search for all levels, but for those of later steps.

Where query heads share key and value heads, a group is cut as one, or with `expand_kv=true` each head
by itself. `official=true` sets `fold_across_heads`: the authors' code adds the scores of query head a
to those of key head a modulo their number K, which serves other query heads. Only the block-wise
structure is here: cutting the residual width (`channelwise`) is not.

Ma, Fang and Wang, "LLM-Pruner: On the Structural Pruning of Large Language Models", NeurIPS 2023.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods import _llm_pruner_selection
from meltpoint.methods._llm_pruner_scores import GRADIENTS, member_scores, unit_scores
from meltpoint.methods._unit_selection import Size, check_cut
from meltpoint.methods._units import Units, cut_units, units_of
from meltpoint.methods.contract import Block, Context, Statistics
from meltpoint.methods.settings import (
    CalibratedSettings,
    ExpandableSettings,
    OfficialSettings,
    ShapeSettings,
)

backward_walk = LazyModule("meltpoint.model.backward_walk")
block_walk = LazyModule("meltpoint.model.block_walk")
empty_model = LazyModule("meltpoint.model.empty_model")
gradient_statistics = LazyModule("meltpoint.model.gradient_statistics")
io = LazyModule("meltpoint.checkpoints.io")
surgery = LazyModule("meltpoint.model.surgery")

kind = "structured"
levels = (Sparsity,)
env = "torch"
needs_gradients = True
search_settings = ("importance", "expand_kv")
search_format = "npz"


class Settings(OfficialSettings, ExpandableSettings, ShapeSettings, CalibratedSettings):
    """The official code's settings, and its quirk."""

    official_defaults: ClassVar[dict[str, Any]] = {"fold_across_heads": True}

    importance: Literal["param_first", "param_second", "param_mix", "vectorize", "l1", "l2"] = (
        Field("param_first", description="Importance of a channel.")
    )
    layers: str | None = Field(
        None,
        description="Layers to prune, as 4-30: from the fifth to the thirtieth. Default: all.",
    )
    structure: Literal["blockwise", "channelwise"] = Field(
        "blockwise", description="What is cut. Only blockwise, heads and neurons, is here."
    )
    steps: int = Field(1, ge=1, description="Number of steps in which the level is reached.")
    scope: Literal["local", "global"] = Field(
        "local", description="Whether each layer loses the same ratio, or all layers compete."
    )
    fold_across_heads: bool = Field(
        False,
        description="Whether scores of query heads count for other key heads than their own, as in the "
        "published code.",
    )

    @property
    def calibrated(self) -> bool:
        """True for an importance of gradients."""
        return bool(GRADIENTS[self.importance])

    def unused_settings(self) -> set[str]:
        """Names of settings that do nothing: the calibration's, where only weights count."""
        unused = set() if self.calibrated else set(CalibratedSettings.model_fields)
        return unused | ({"fold_across_heads"} if self.expand_kv else set())

    @field_validator("layers")
    @classmethod
    def _layers_are_a_range(cls, value: str | None) -> str | None:
        if value is not None:
            parts = re.fullmatch(r"(\d+)-(\d+)", value)
            if parts is None or int(parts[1]) >= int(parts[2]):
                raise ValueError(
                    f"{value} is no range of layers: write the first, counted from 0, and the one "
                    "behind the last, as in layers=4-30"
                )
        return value

    @field_validator("structure")
    @classmethod
    def _structure_is_blockwise(cls, value: str) -> str:
        if value != "blockwise":
            raise ValueError(
                f"{value} is not implemented: Meltpoint's llm_pruner cuts heads and neurons, not the "
                "residual width; leave the setting out"
            )
        return value

    def chosen(self, count: int) -> range:
        """Indices of the layers to prune, of so many.

        Raises NotApplicable where there are fewer.
        """
        if self.layers is None:
            return range(count)
        first, end = map(int, self.layers.split("-"))
        if end > count:
            raise NotApplicable(
                f"llm_pruner: layers={self.layers} goes beyond the model, which has {count} layers"
            )
        return range(first, end)


def calibrated(level: Sparsity, settings: Settings) -> bool:
    """True where later steps need gradients of their own; the first step's are in the search."""
    return settings.calibrated and settings.steps > 1


def rounds(settings: Settings) -> int:
    """Number of steps, each with a search of its own."""
    return settings.steps


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Units of each block, and scores of the channels of their linears, an array of each."""
    units: dict[int, dict[str, int]] = {}
    found: dict[str, Any] = {}
    for index, module, gradients in _scored_blocks(source, settings, context, units):
        scores = member_scores(module, gradients, settings.importance)
        found |= {f"{index}.{name}": array for name, array in scores.items()}
    return {"units": [units[index] for index in sorted(units)], **found}


def _scored_blocks(
    source: Path, settings: Settings, context: Context, units: dict[int, dict[str, int]]
) -> Iterator[tuple[int, "torch.nn.Module", dict]]:
    """Each block's index, the block with its weights, and their gradients; notes its `units`."""
    compute = context.compute
    reader = io.Reader(source, compute.torch_dtype, compute.torch_device)
    names = GRADIENTS[settings.importance]
    if names:
        accumulators = {name: gradient_statistics.GRADIENT_ACCUMULATORS[name] for name in names}
        noted: list[dict[str, int]] = []

        def prepare(module: "torch.nn.Module") -> None:
            noted.append(asdict(units_of(module, settings.expand_kv)))
            _expand(module, settings)

        walk = backward_walk.walk_backwards(
            reader, context.windows, compute, accumulators, prepare=prepare
        )
        for block in walk:
            units[block.index] = noted[-1]
            yield block.index, block.module, block.gradients
        return
    walk = block_walk.Walk(reader, None, compute)
    for index in context.progress(range(len(walk.blocks)), "llm_pruner: blocks"):
        module, own = walk.blocks[index], walk.names(index)
        empty_model.fill(walk.model, reader.read(own))
        units[index] = asdict(units_of(module, settings.expand_kv))
        _expand(module, settings)
        yield index, module, {}
        empty_model.empty(walk.model, own)


def _expand(module: "torch.nn.Module", settings: Settings) -> None:
    if settings.expand_kv and units_of(module).heads:
        surgery.expand_kv(module)


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Cuts the block's heads and neurons that were selected, in place."""
    if block.index == 0:
        block.memory["kept"] = _select(block, level, settings)
    kept = block.memory["kept"][block.index]
    _expand(block.module, settings)
    cut_units(block.module, kept.get("attention"), kept.get("mlp"))


def _select(block: Block, level: Sparsity, settings: Settings) -> list[dict]:
    """Masks of the units of all blocks that are left; raises NotApplicable where none goes."""
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
