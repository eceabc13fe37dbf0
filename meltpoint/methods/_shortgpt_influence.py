"""Angles by which the blocks of a model turn its hidden states, measured on one pass."""

import math
from pathlib import Path
from typing import Any

import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import all_finite, overflow, return_memory, trim_memory
from meltpoint.errors import MeltpointError
from meltpoint.methods.contract import Context
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.model_parts import ModelParts

# Value of a cosine with a vector of length zero.
UNDEFINED = 0.5


@torch.no_grad()
def measure(source: Path, context: Context) -> dict[str, Any]:
    """Influences of the blocks, angles of runs of blocks, and the blocks' parameters, by name.

    Raises MeltpointError if hidden states are not finite.
    """
    return_memory()
    compute = context.compute
    reader = Reader(source, compute.torch_dtype, compute.torch_device)
    walk = Walk(reader, context.windows, compute)
    walk.embed()
    influences, last_tokens, with_norm = [], [_last_tokens(walk)], 0.0
    for index in context.progress(range(len(walk.blocks)), "shortgpt: blocks"):
        names = walk.names(index)
        empty_model.fill(walk.model, reader.read(names))
        before = walk.hidden.clone() if index + 1 == len(walk.blocks) else None
        influences.append(_advance(walk, index))
        if before is not None:
            with_norm = _influence_with_norm(walk, before)
        last_tokens.append(_last_tokens(walk))
        empty_model.empty(walk.model, names)
        trim_memory()
    return {
        "influences": influences,
        "influence_with_norm": with_norm,
        "angles": _angles(torch.stack(last_tokens)),
        "parameters": [sum(p.numel() for p in block.parameters()) for block in walk.blocks],
    }


def _last_tokens(walk: Walk) -> torch.Tensor:
    """A copy of the hidden states of the windows' last tokens, float32 [windows, width]."""
    return walk.hidden[:, -1].to(torch.float32, copy=True)


def _advance(walk: Walk, index: int) -> float:
    """Influence of a block; the walk's hidden states are its outputs afterwards."""
    total = torch.zeros((), dtype=torch.float64, device=walk.hidden.device)
    for batch in walk.batches():
        outputs = walk.forward(index, batch)
        total += (1 - cosine(walk.hidden[batch], outputs)).sum(dtype=torch.float64)
        walk.hidden[batch] = outputs
    if not all_finite(walk.hidden):
        raise MeltpointError(
            overflow(f"the outputs of block {index}", f"block {index}", walk.compute.dtype)
        )
    return total.item() / walk.windows.numel()


def _influence_with_norm(walk: Walk, before: torch.Tensor) -> float:
    """Influence of the last block and the final norm together; `before` are the block's inputs."""
    names = walk.other_names()
    empty_model.fill(walk.model, walk.reader.read(names))
    norm = ModelParts(walk.model).norm or torch.nn.Identity()
    total = torch.zeros((), dtype=torch.float64, device=before.device)
    for batch in walk.batches():
        normed = norm(walk.hidden[batch])
        total += (1 - cosine(before[batch], normed)).sum(dtype=torch.float64)
    empty_model.empty(walk.model, names)
    return total.item() / walk.windows.numel()


def _angles(states: torch.Tensor) -> list[list[float]]:
    """Mean angles, divided by pi, between states n borders apart: one list for each n from 1.

    states: those of the last tokens, [borders, windows, width]. A list is by the first border. The
    largest n leaves one block.
    """
    angles = []
    for count in range(1, len(states) - 1):
        cosines = cosine(states[:-count], states[count:]).clamp(-1, 1)
        angles.append((cosines.arccos() / math.pi).double().mean(dim=1).tolist())
    return angles


def cosine(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosines of vectors [..., width], float32 [...]; `UNDEFINED` if one of the two has no length."""
    first, second = first.float(), second.float()
    lengths = first.norm(dim=-1) * second.norm(dim=-1)
    return ((first * second).sum(dim=-1) / lengths).nan_to_num(nan=UNDEFINED)
