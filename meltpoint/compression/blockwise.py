"""Compression of a checkpoint block by block, on the walk of `meltpoint.model.block_walk`.

For each block a pass over the calibration windows collects statistics of its linears. The method
compresses the block, and the walk writes its weights. A second pass makes the next block's inputs.
"""

from functools import partial

import torch
from torch import nn

from meltpoint.chain import Level, Pattern
from meltpoint.checkpoints.io import Reader, Writer
from meltpoint.checkpoints.linears import Linear, LinearBefore, describe
from meltpoint.checkpoints.shapes import Shapes
from meltpoint.compression.sparsity_allocation import allocate
from meltpoint.compression.walk_job import Job, Outcome
from meltpoint.compression.walk_state import State, WalkStates
from meltpoint.compute import Compute, return_memory, trim_memory
from meltpoint.errors import NotApplicable
from meltpoint.methods import Method
from meltpoint.methods.settings import MethodSettings
from meltpoint.model import empty_model, shaped
from meltpoint.model.block_parts import other_matrices
from meltpoint.model.block_walk import Block, Walk
from meltpoint.model.model_parts import ModelParts
from meltpoint.model.stored_layout import as_stored, stored_keys
from meltpoint.progress import track


@torch.no_grad()
def walk(
    reader: Reader,
    writer: Writer,
    job: Job,
    level: Level | None,
    windows: torch.Tensor | None,
    compute: Compute,
    states: WalkStates | None = None,
) -> Outcome:
    """Compresses a checkpoint block by block into another; returns the facts about the new one.

    `windows` are the calibration tokens, int64 [windows, tokens], None for a method that looks at none.
    Each block is written as soon as it is compressed. Embeddings, final norm and head follow after the
    last block, changed by the method's `finish` if it has one. With `states` a walk that was killed
    continues at the block that it had reached. Raises NotApplicable if a pattern does not divide a
    linear's input width, or if no block is left.
    """
    return_memory()
    walk, method, settings = Walk(reader, windows, compute), job.method, job.settings
    check_widths(walk.blocks, level)
    kept = states.read(writer) if states else None
    if kept:
        outcome, levels, first = kept.restore(walk, writer, job), kept.levels, kept.done
    else:
        outcome, levels, first = Outcome(), allocate(walk, level, settings), 0
        _enter(walk, method, settings)
    for index in track(range(first, len(walk.blocks)), f"{method.name}: blocks"):
        empty_model.fill(walk.model, reader.read(walk.names(index)))
        facts = _compress(walk, index, job, levels[index])
        if facts is not None:
            _write(walk, index, writer, facts, outcome)
            _advance(walk, index, method)
        empty_model.empty(walk.model, walk.names(index))
        trim_memory()
        if states:
            now = partial(State.of, walk, writer, job, outcome, levels, index + 1)
            states.after(index + 1, len(walk.blocks), writer, now)
    if not outcome.kept:
        raise NotApplicable(f"{method.name} leaves no block at {level}")
    _write_rest(walk, writer, outcome, getattr(method.module, "finish", None), job.memory)
    outcome.stored_as = stored_keys(walk.model, writer.files, outcome.linears)
    if walk.unsent:
        experts = "; ".join(f"{', '.join(names)} of block {i}" for i, names in walk.unsent.items())
        outcome.warnings.append(
            f"{method.name}: no calibration token was sent to some experts, which were calibrated on "
            f"all tokens instead: {experts}"
        )
    return outcome


def _enter(walk: Walk, method: Method, settings: MethodSettings) -> None:
    """Makes the first block's inputs, unless the method looks at no calibration tokens."""
    if walk.windows is None or not (method.statistics(settings) or settings.calibrated):
        return
    walk.embed()
    if followed := method.compressed_windows(settings):
        walk.compressed = walk.hidden[:followed].clone()


def _write(walk: Walk, index: int, writer: Writer, facts: dict, outcome: Outcome) -> None:
    """Writes a block, numbered after the blocks that were kept so far, and notes its facts."""
    block, path = walk.blocks[index], f"{walk.name}.{len(outcome.kept)}"
    outcome.linears |= {f"{path}.{name}": linear for name, linear in facts.items()}
    others = other_matrices(block).items()
    outcome.other_matrices |= {f"{path}.{n}": describe(x, None, None) for n, x in others}
    outcome.blocks.append(shaped.shape_of(block))
    outcome.kept.append(index)
    tensors = {f"{path}.{name}": tensor for name, tensor in block.state_dict().items()}
    writer.write(as_stored(walk.model, block, path, tensors))


def _advance(walk: Walk, index: int, method: Method) -> None:
    """Makes the next block's inputs.

    With dense statistics the pass that collected them has done so, but for the windows that are
    followed through the compressed blocks.
    """
    if index + 1 == len(walk.blocks):
        return
    if walk.compressed is not None:
        walk.compressed = walk.outputs_on(index, walk.compressed)
    if walk.hidden is not None and not method.facts.dense_statistics:
        walk.advance(index)


def _write_rest(walk: Walk, writer: Writer, outcome: Outcome, finish, memory: dict) -> None:
    """Writes embeddings, final norm and head, which `finish(parts, memory)` may change."""
    others, norms = walk.others, walk.outer_norms
    tensors = walk.reader.read(walk.other_names())
    if finish is not None:
        empty_model.fill(walk.model, tensors)
        empty_model.tie(walk.model, walk.tied)
        finish(ModelParts(walk.model), memory)
        parameters = walk.outer_parameters()
        buffers = {name: tensors[name] for name in tensors if name not in others}
        others = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
        tensors = parameters | buffers
        norms = shaped.outer_norms(walk.model, walk.name)
        outcome.untied = len(others) > len(walk.others)
    writer.write(as_stored(walk.model, nn.Module(), "", tensors))
    outcome.shapes = Shapes(blocks=outcome.blocks, others=others, norms=norms)


def _compress(walk: Walk, index: int, job: Job, level: Level | None) -> dict[str, Linear] | None:
    """Compresses a block in place; returns facts about its linears by name, None if it is dropped."""
    block, path, quantized = walk.blocks[index], f"{walk.name}.{index}", {}
    method, settings = job.method, job.settings
    dense, earlier = method.facts.dense_statistics, empty_model.linears(block)
    before = {
        name: LinearBefore(linear.weight, job.earlier.get(f"{path}.{name}"))
        for name, linear in earlier.items()
    }
    if method.needs_dense_outputs(settings):
        walk.advance_dense(index)
    for names in _parts(walk, index, settings):
        linears = {
            name: linear for name, linear in empty_model.linears(block).items() if name in names
        }
        wanted = method.statistics(settings)
        statistics = walk.collect(index, wanted, linears, advance=dense) if wanted else {}
        view = _view(walk, index, linears, job)
        quantized |= method.module.compress_block(view, statistics, level, settings) or {}
        if view.dropped:
            return None
    # A linear that replaces another starts anew: the zeros of the old one do not count for it.
    return {
        name: describe(
            x.weight,
            before[name] if earlier.get(name) is x else None,
            quantized.get(name),
            getattr(x, "kept", None),
        )
        for name, x in empty_model.linears(block).items()
    }


def _parts(walk: Walk, index: int, settings) -> list[list[str]]:
    """Names of the linears that are compressed together, one list for each pass over the windows.

    That is one list of all, or with `true_sequential` one list for each input.
    """
    if getattr(settings, "true_sequential", False):
        return walk.input_groups(index)
    return [list(empty_model.linears(walk.blocks[index]))]


def _view(walk: Walk, index: int, linears: dict[str, nn.Linear], job: Job) -> Block:
    return Block(
        index,
        len(walk.blocks),
        walk.blocks[index],
        linears,
        None if job.method.facts.dense_statistics else walk.hidden,
        partial(walk.forward, index),
        walk.batches,
        walk.dense,
        walk.replace_hidden,
        job.memory,
        parameters=job.parameters,
        decoder=walk.blocks,
        search=job.search,
        smallest=job.smallest,
        gradients=job.gradients.read(index) if job.gradients else {},
        compressed_inputs=walk.compressed,
    )


def check_widths(blocks: nn.ModuleList, level: Level | None) -> None:
    """Raises NotApplicable unless the group of a pattern divides the input width of every linear."""
    if not isinstance(level, Pattern):
        return
    for block in blocks:
        for name, linear in empty_model.linears(block).items():
            if linear.in_features % level.group:
                raise NotApplicable(
                    f"{level.kept}:{level.group} needs input widths that are multiples of "
                    f"{level.group}; {name} has {linear.in_features}"
                )
