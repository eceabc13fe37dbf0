"""LLM-Pruner's channel-wise structure: channels of the residual stream, cut in all layers alike."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from meltpoint.checkpoints.io import Reader
from meltpoint.errors import NotApplicable
from meltpoint.methods._llm_pruner_blocks import scored_blocks
from meltpoint.methods._llm_pruner_scores import GRADIENTS, channel_scores, scorer_of
from meltpoint.methods._llm_pruner_settings import Settings
from meltpoint.methods._reach import nearest_level
from meltpoint.methods._unit_selection import Size
from meltpoint.methods.contract import Block, Context, Level
from meltpoint.model import empty_model, surgery
from meltpoint.model.block_parts import Absent, BlockParts
from meltpoint.model.block_walk import Walk
from meltpoint.model.gradient_statistics import GRADIENT_ACCUMULATORS, GradientStatistics
from meltpoint.model.model_parts import ModelParts
from meltpoint.model.outer_gradients import OuterGradients

Gradients = Mapping[str, GradientStatistics]


def scores(source: Path, settings: Settings, context: Context) -> torch.Tensor:
    """Scores of the residual stream's channels, float32 [width].

    A channel's score is the sum, or for l1 and l2 the mean, of its scores in all modules that read or
    write it. Raises NotApplicable for a model whose stream changes its basis on the way.
    """
    importance = settings.importance
    accumulators = {name: GRADIENT_ACCUMULATORS[name] for name in GRADIENTS[importance]}
    outer = OuterGradients(accumulators) if accumulators else None
    members = []
    for index, module, gradients in scored_blocks(source, settings, context, {}, outer):
        _check_stream(module, index)
        members += _block_members(module, gradients, importance)
    around = {} if outer is None else outer.statistics
    members += _outer_members(source, context, around, importance)
    every = torch.stack([member.cpu() for member in members])
    return every.mean(0) if importance in ("l1", "l2") else every.sum(0)


def _check_stream(module: nn.Module, index: int) -> None:
    names = (*surgery.SHORTCUTS, *surgery.PROJECTIONS)
    if any(getattr(module, name, None) is not None for name in names):
        raise NotApplicable(
            f"structure=channelwise cuts the same channels in all layers, and block {index} sends the "
            "residual stream through matrices of an earlier step"
        )


def _block_members(
    module: nn.Module, gradients: Gradients, importance: str
) -> Iterator[torch.Tensor]:
    """Scores of the channels in each linear and norm of a block, float32 [width]."""
    parts, score = BlockParts(module), scorer_of(module, gradients, importance)
    yield from (score(linear, along=0) for linear in _readers(parts))
    yield from (score(linear, along=1) for linear in _writers(parts))
    names = {id(part): name for name, part in module.named_modules()}
    for norm in _norms(parts):
        yield _vector_scores(norm.weight, gradients.get(f"{names[id(norm)]}.weight"), importance)


def _readers(parts: BlockParts) -> list[nn.Module]:
    attention = [parts.queries, parts.keys, parts.values] if parts.has_attention else []
    return attention + (parts.mlp_inputs if parts.has_mlp else [])


def _writers(parts: BlockParts) -> list[nn.Module]:
    attention = [parts.attention_output] if parts.has_attention else []
    return attention + ([parts.mlp_output] if parts.has_mlp else [])


def _norms(parts: BlockParts) -> list[nn.Module]:
    """The block's norms of the residual stream that have weights."""
    every = (*parts.attention_norms, *parts.mlp_norms)
    return [norm for norm in every if getattr(norm, "weight", None) is not None]


def _vector_scores(
    weight: torch.Tensor, gradients: GradientStatistics | None, importance: str
) -> torch.Tensor:
    if gradients is not None:
        gradients = GradientStatistics({key: x[None] for key, x in gradients.values.items()})
    return channel_scores(weight[None], gradients, importance, 0)


def _outer_members(
    source: Path, context: Context, gradients: Gradients, importance: str
) -> Iterator[torch.Tensor]:
    """Scores of the channels in embeddings, final norm and head, float32 [width]."""
    compute = context.compute
    walk = Walk(Reader(source, compute.torch_dtype, compute.torch_device), None, compute)
    empty_model.fill(walk.model, walk.reader.read(walk.other_names()))
    empty_model.tie(walk.model, walk.tied)
    parts = ModelParts(walk.model)
    into, out = parts.projections
    first = ("embeddings", parts.embeddings, 0) if into is None else ("project_in", into, 1)
    last = ("head", parts.head) if out is None else ("project_out", out)
    for name, module, along in (first, (*last, 0)):
        yield channel_scores(module.weight, gradients.get(name), importance, along)
    if getattr(parts.norm, "weight", None) is not None:
        yield _vector_scores(parts.norm.weight, gradients.get("norm.weight"), importance)


def compress_block(block: Block, level: Level, settings: Settings) -> None:
    """Cuts the residual stream's channels in a block in place; the first block chooses them."""
    if block.index == 0:
        block.memory["channels"] = _select(block, level, settings)
        if block.hidden is not None:
            block.replace_hidden(block.hidden[..., block.memory["channels"]])
    kept, parts = block.memory["channels"], BlockParts(block.module)
    for linear in _readers(parts):
        surgery.cut(linear, columns=kept)
    for linear in _writers(parts):
        surgery.cut(linear, rows=kept)
    for norm in (*parts.attention_norms, *parts.mlp_norms):
        _cut_vectors(norm, kept)
    for part in (parts.attention, parts.absent_mlp):
        if isinstance(part, Absent):
            _cut_vectors(part, kept)


def _select(block: Block, level: Level, settings: Settings) -> torch.Tensor:
    """Indices of the channels to keep, ascending; raises NotApplicable if none would be cut."""
    values = torch.from_numpy(block.search["channels"])
    width = len(values)
    initial = block.memory.setdefault("width", width)
    cut = width - int(initial * (1 - level.fraction))
    if settings.of == "parameters":
        size, cost = Size(*block.parameters), sum(map(_cost, block.decoder))
        gone = [size.gone(count * cost) for count in range(width)]
        cut = nearest_level("llm_pruner", gone, level.fraction)
    step = block.memory["step"] = block.memory.get("step", 0) + 1
    cut = min(max(cut, 0), width - 1)
    if step == settings.steps and width - cut == initial:
        raise NotApplicable(f"llm_pruner@{level} removes none of {initial} channels")
    return values.argsort(stable=True)[cut:].sort().values.to(_device(block))


def _device(block: Block) -> torch.device:
    return next(block.module.parameters()).device


def _cost(module: nn.Module) -> int:
    """Number of a block's parameters that go with one channel."""
    parts = BlockParts(module)
    readers = [x[0] if isinstance(x, nn.Sequential) else x for x in _readers(parts)]
    writers = [x[-1] if isinstance(x, nn.Sequential) else x for x in _writers(parts)]
    vectors = [*_norms(parts), *(x for x in (parts.attention, parts.absent_mlp) if _is_constant(x))]
    return (
        sum(linear.out_features for linear in readers)
        + sum(linear.in_features + (linear.bias is not None) for linear in writers)
        + sum(len(list(vector.parameters(recurse=False))) for vector in vectors)
    )


def _is_constant(part: nn.Module | None) -> bool:
    return isinstance(part, Absent) and part.bias is not None


def _cut_vectors(module: nn.Module, kept: torch.Tensor) -> None:
    """Keeps these entries of a norm's vectors, or of a constant."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        surgery.set_parameter(module, name, parameter[kept])


def cut_around(parts: ModelParts, kept: torch.Tensor) -> None:
    """Cuts embeddings, learned positions, final norm and head to these channels, in place."""
    (into, out), tied = parts.projections, parts.tied
    tables = [parts.positions] if into is not None else [parts.positions, parts.embeddings]
    for table in filter(None, tables):
        surgery.set_parameter(table, "weight", table.weight[:, kept])
    if into is not None:
        surgery.cut(into, rows=kept)
    if parts.norm is not None:
        _cut_vectors(parts.norm, kept)
    if out is not None:
        surgery.cut(out, columns=kept)
    elif tied and into is None:
        parts.tie()
    else:
        surgery.cut(parts.head, columns=kept)
