"""Losses without one block, one attention or one MLP, by which the global search weighs importance.

All these models run side by side through the blocks. Each block's weights are read once, and blocks
before a change run once, as all models share their hidden states. Memory holds the hidden states of
all models: (parts of a block + 1) x blocks x windows x tokens x width.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.methods._hgsp_gradients import token_weights
from meltpoint.methods._hgsp_units import KINDS
from meltpoint.methods.contract import Context
from meltpoint.methods.settings import MethodSettings
from meltpoint.model import empty_model
from meltpoint.model.block_parts import Absent, BlockParts, columns_of, rows_of
from meltpoint.model.block_walk import Walk
from meltpoint.model.token_losses import head_of
from meltpoint.progress import track

# Losses are measured on a fifth of the calibration windows.
SHARE = 5
# Name of the part that is a whole block, in the search's result.
LAYER = "layer"


class PassThrough(nn.Module):
    """Takes the place of attention and returns its input, which is the normalised hidden state."""

    def forward(self, hidden_states: torch.Tensor, **_: object) -> tuple[torch.Tensor, None]:
        """The input, and no attention weights."""
        return hidden_states, None


def measure(source: Path, settings: MethodSettings, context: Context) -> dict[str, Any]:
    """The result of `differences` for the method's settings; raises MeltpointError for few windows."""
    windows, lengths = context.windows, context.lengths
    name, number = settings.calibration, len(context.windows) // SHARE
    if settings.validation_calibration is not None:
        windows, lengths = context.validation, context.validation_lengths
        name = settings.validation_calibration
    if not 0 < number <= len(windows):
        raise MeltpointError(
            f"calibrations.{name}: hgsp measures losses on a fifth of {len(context.windows)} windows, "
            f"and at least one: {len(windows)} are too few; set prior=taylor or more samples"
        )
    masked = lengths[:number] if settings.pad == "mask" and lengths is not None else None
    weights = token_weights(windows[:number], masked, number)
    kinds = KINDS if settings.prior == "blockwise" else ()
    ablation, compute = settings.ablation, context.compute
    return differences(source, windows[:number], weights, compute, kinds, ablation)


@torch.no_grad()
def differences(
    source: Path,
    windows: torch.Tensor,
    weights: torch.Tensor,
    compute: Compute,
    kinds: tuple[str, ...],
    ablation: str,
) -> dict[str, Any]:
    """Loss of a checkpoint, and its increase without one part of one block.

    `weights` [windows, tokens - 1] are those of the next tokens' losses, whose sum is the loss.
    `kinds` are attention and mlp, or none for whole blocks alone. `difference.{kind}` are lists over
    the blocks, None where an earlier step has removed that part.
    """
    walk = Walk(Reader(source, compute.torch_dtype, compute.torch_device), windows, compute)
    walk.embed()
    # By the block and the part that is missing; the whole model's key comes first.
    states = {(-1, ""): walk.hidden}
    walk.hidden = None
    for index in track(range(len(walk.blocks)), "losses: blocks"):
        names, block = walk.names(index), walk.blocks[index]
        empty_model.fill(walk.model, walk.reader.read(names))
        whole = states[-1, ""]
        for kind in (LAYER, *kinds):
            if kind == LAYER or _has(block, kind):
                with _without(block, kind, ablation):
                    states[index, kind] = _outputs(walk, index, whole)
        for key, hidden in states.items():
            if key[0] < index:
                states[key] = _outputs(walk, index, hidden)
        empty_model.empty(walk.model, names)
    losses = _losses(walk, states, weights)
    whole = losses[-1, ""]
    found = {
        f"difference.{kind}": [
            losses[index, kind] - whole if (index, kind) in losses else None
            for index in range(len(walk.blocks))
        ]
        for kind in (LAYER, *kinds)
    }
    return {"loss": whole, **found}


def _outputs(walk: Walk, index: int, hidden: torch.Tensor) -> torch.Tensor:
    return torch.cat([walk.forward(index, batch, inputs=hidden) for batch in walk.batches()])


def _losses(walk: Walk, states: dict, weights: torch.Tensor) -> dict[tuple[int, str], float]:
    """The loss of each model, from the last block's outputs."""
    losses = {}
    with head_of(walk) as token_losses:
        for key, hidden in states.items():
            parts = [
                token_losses(walk.windows[batch], hidden[batch]).cpu() for batch in walk.batches()
            ]
            losses[key] = float((torch.cat(parts).double() * weights).sum())
    return losses


def _has(block: nn.Module, kind: str) -> bool:
    parts = BlockParts(block)
    return parts.has_attention if kind == "attention" else parts.has_mlp


@contextlib.contextmanager
def _without(block: nn.Module, kind: str, ablation: str) -> Iterator[None]:
    """Context in which a part of the block is replaced; of a whole block the residual stream stays."""
    parts = BlockParts(block)
    replaced: dict[str, nn.Module] = {}
    for part in KINDS if kind == LAYER else (kind,):
        if _has(block, part):
            how = "zero" if kind == LAYER else ablation
            if how == "norm":
                _check_width(parts, part)
            replaced |= _substitutes(parts, part, how)
    originals = {name: getattr(block, name) for name in replaced}
    for name, module in replaced.items():
        setattr(block, name, module)
    try:
        yield
    finally:
        for name, module in originals.items():
            setattr(block, name, module)


def _substitutes(parts: BlockParts, kind: str, how: str) -> dict[str, nn.Module]:
    """Modules that replace attention or MLP, by the names of the block's attributes."""
    if kind == "attention":
        return {"self_attn": PassThrough() if how == "norm" else Absent(parts.attention.layer_idx)}
    output = nn.Identity() if how == "norm" else Absent()
    if parts.layout.mlp:
        return {parts.layout.mlp: output}
    passing = dict.fromkeys((*parts.layout.mlp_inputs, "activation_fn"), nn.Identity())
    return {**passing, parts.layout.mlp_output: output}


def _check_width(parts: BlockParts, kind: str) -> None:
    """Raises NotApplicable for a part whose input has another width than its output."""
    inputs, outputs = (
        (parts.queries, parts.attention_output)
        if kind == "attention"
        else (parts.mlp_inputs[0], parts.mlp_output)
    )
    if columns_of(inputs) != rows_of(outputs):
        raise NotApplicable(
            f"hgsp cannot replace the {kind} of a block by its input, of width {columns_of(inputs)}, "
            f"where {rows_of(outputs)} are needed: set ablation=zero"
        )
