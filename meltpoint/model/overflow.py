"""Where in a model numbers stop being finite."""

from pathlib import Path

import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, all_finite
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk


@torch.no_grad()
def first_overflow(checkpoint: Path, window: torch.Tensor, compute: Compute) -> str:
    """The first part of a model whose outputs on a window, int64 [1, tokens], are not finite."""
    reader = Reader(checkpoint, compute.torch_dtype, compute.torch_device)
    walk = Walk(reader, window, compute)
    walk.embed()
    if not all_finite(walk.hidden):
        return "the embeddings"
    for index in range(len(walk.blocks)):
        names = walk.names(index)
        empty_model.fill(walk.model, reader.read(names))
        walk.advance(index)
        empty_model.empty(walk.model, names)
        if not all_finite(walk.hidden):
            return f"block {index}"
    return "the head"
