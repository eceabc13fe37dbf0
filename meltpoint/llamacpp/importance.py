"""The importance matrix: weights of the columns of linears, from the calibration."""

from pathlib import Path

import numpy as np
import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, return_memory, trim_memory
from meltpoint.llamacpp.architecture import Names, architecture_of
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.progress import track


@torch.no_grad()
def importance_matrix(
    source: Path, windows: torch.Tensor, compute: Compute
) -> dict[str, np.ndarray]:
    """Mean squares of the inputs of linears over all calibration tokens, float32 [columns].

    They are by the names of tensors in the GGUF file. One block is in memory at a time. windows: int64
    [windows, tokens]. Raises MeltpointError, naming the block, if inputs overflow the study's dtype.
    """
    return_memory()
    walk = Walk(Reader(source, compute.torch_dtype, compute.torch_device), windows, compute)
    names = Names(walk.model.config, architecture_of(walk.model.config))
    walk.embed()
    found: dict[str, np.ndarray] = {}
    for index in track(range(len(walk.blocks)), "gguf: importance matrix"):
        tensors = walk.reader.read(walk.names(index))
        empty_model.fill(walk.model, tensors)
        statistics = walk.collect(index, ("norm",), advance=True)
        for linear, collected in statistics.items():
            squares = collected.norm / windows.shape[1]
            found[names[f"{walk.name}.{index}.{linear}.weight"]] = squares.cpu().numpy()
        empty_model.empty(walk.model, tensors)
        del tensors
        trim_memory()
    return found
