"""A model's blocks on their way through LLM-Pruner's search."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.lazy_import import LazyModule
from meltpoint.methods._llm_pruner_scores import GRADIENTS
from meltpoint.methods._llm_pruner_settings import Settings
from meltpoint.methods._units import units_of
from meltpoint.methods.contract import Context

if TYPE_CHECKING:
    from torch import nn

    from meltpoint.model.outer_gradients import OuterGradients

backward_walk = LazyModule("meltpoint.model.backward_walk")
block_walk = LazyModule("meltpoint.model.block_walk")
empty_model = LazyModule("meltpoint.model.empty_model")
gradient_statistics = LazyModule("meltpoint.model.gradient_statistics")
io = LazyModule("meltpoint.checkpoints.io")
surgery = LazyModule("meltpoint.model.surgery")


def scored_blocks(
    source: Path,
    settings: Settings,
    context: Context,
    units: dict[int, dict[str, int]],
    outer: "OuterGradients | None" = None,
) -> Iterator[tuple[int, "nn.Module", dict]]:
    """Yields for each block its index, the block with its weights, and their gradients.

    units: gets the units of each block, by index. With `outer`, which collects the gradients around the
    blocks, the gradients include those of norms and biases.
    """
    compute = context.compute
    reader = io.Reader(source, compute.torch_dtype, compute.torch_device)
    names = GRADIENTS[settings.importance]
    if names:
        accumulators = {name: gradient_statistics.GRADIENT_ACCUMULATORS[name] for name in names}
        noted: list[dict[str, int]] = []

        def prepare(module: "nn.Module") -> None:
            noted.append(asdict(units_of(module, settings.expand_kv)))
            expand(module, settings)

        walk = backward_walk.walk_backwards(
            reader,
            context.windows,
            compute,
            accumulators,
            vectors=outer is not None,
            prepare=prepare,
            outer=outer,
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
        expand(module, settings)
        yield index, module, {}
        empty_model.empty(walk.model, own)


def expand(module: "nn.Module", settings: Settings) -> None:
    """Gives each query head of a block key and value heads of its own, with `expand_kv`."""
    if settings.expand_kv and units_of(module).heads:
        surgery.expand_kv(module)
