"""Compression of a checkpoint block by block, on the walk of `meltpoint.model.block_walk`.

Statistics of a block's linears are collected on a pass of the calibration windows, the method
compresses the block, its weights are written, and a second pass makes the next block's inputs.
"""

from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from meltpoint.chain import Level, Pattern
from meltpoint.checkpoints.io import Reader, Writer
from meltpoint.checkpoints.linears import Before, describe
from meltpoint.compression.sparsity_allocation import allocate
from meltpoint.compute import Compute, return_memory, trim_memory
from meltpoint.errors import NotApplicable
from meltpoint.methods import Method
from meltpoint.methods.settings import MethodSettings
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Block, Walk
from meltpoint.progress import track


@torch.no_grad()
def walk(
    reader: Reader,
    writer: Writer,
    method: Method,
    level: Level | None,
    settings: MethodSettings,
    windows: torch.Tensor | None,
    compute: Compute,
    earlier: dict[str, dict] | None = None,
) -> dict[str, dict]:
    """Compresses a checkpoint block by block into another.

    `windows` are the calibration tokens [windows, tokens], None for a method that looks at none;
    `earlier` is what an earlier walk said of the checkpoint's linears. Returns the same of the new
    one's (`meltpoint.checkpoints.linears.describe`). Raises NotApplicable where a pattern does not
    divide a layer's width.
    """
    return_memory()
    walk = Walk(reader, windows, compute)
    check_widths(walk.blocks, level)
    levels = allocate(walk, level, settings)
    writer.write(reader.read(walk.other_names()))
    if method.statistics(settings):
        walk.embed()
    layers: dict[str, dict] = {}
    for index in track(range(len(walk.blocks)), f"{method.name}: blocks"):
        tensors = reader.read(walk.names(index))
        empty_model.fill(walk.model, tensors)
        layers |= _compress(walk, index, method, levels[index], settings, earlier or {})
        writer.write({name: _current(walk.model, name) for name in tensors})
        if walk.hidden is not None and index + 1 < len(walk.blocks):
            walk.advance(index)
        empty_model.empty(walk.model, tensors)
        del tensors
        trim_memory()
    return layers


def _compress(
    walk: Walk, index: int, method: Method, level, settings, earlier: dict
) -> dict[str, dict]:
    block, path, made = walk.blocks[index], f"{walk.name}.{index}", {}
    before = {
        name: Before(linear.weight, earlier.get(f"{path}.{name}", {}))
        for name, linear in empty_model.linears(block).items()
    }
    if method.needs_dense_outputs(settings):
        walk.advance_dense(index)
    for names in _parts(walk, index, settings):
        linears = {
            name: linear for name, linear in empty_model.linears(block).items() if name in names
        }
        wanted = method.statistics(settings)
        statistics = walk.collect(index, wanted, linears) if wanted else {}
        view = _view(walk, index, linears)
        made |= method.module.compress_block(view, statistics, level, settings) or {}
    return {
        f"{path}.{name}": describe(linear.weight, before[name], made.get(name))
        for name, linear in empty_model.linears(block).items()
    }


def _parts(walk: Walk, index: int, settings) -> list[list[str]]:
    """The linears that are compressed on the same pass: all, but for a true sequential order."""
    if getattr(settings, "true_sequential", False):
        return walk.input_groups(index)
    return [list(empty_model.linears(walk.blocks[index]))]


def _view(walk: Walk, index: int, linears: dict[str, nn.Linear]) -> Block:
    return Block(
        index,
        len(walk.blocks),
        walk.blocks[index],
        linears,
        walk.hidden,
        partial(walk.forward, index),
        walk.batches,
        walk.dense,
    )


def _current(model: PreTrainedModel, name: str) -> torch.Tensor:
    owner, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(owner), leaf)


def check_widths(blocks: nn.ModuleList, level: Level | None) -> None:
    """Raises NotApplicable if a pattern's groups do not fill every linear's rows."""
    if not isinstance(level, Pattern):
        return
    for block in blocks:
        for name, linear in empty_model.linears(block).items():
            if linear.in_features % level.group:
                raise NotApplicable(
                    f"{level.kept}:{level.group} needs input widths that are multiples of "
                    f"{level.group}; {name} has {linear.in_features}"
                )
