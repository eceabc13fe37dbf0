"""Gradients for methods that work block by block: collected before the walk, read back block by block.

The walk forwards changes the blocks that gradients flow through, so all gradients are those of the
model as it is before the step. They are kept in files: an accumulator takes as many bytes as the
decoder's linears in float32.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.model.backward_walk import walk_backwards
from meltpoint.model.gradient_statistics import GRADIENT_ACCUMULATORS, GradientStatistics

# Separates the name of a linear from that of an accumulator.
MARK = "/"


class BlockGradients:
    """The gradients of all blocks, in files of a folder."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device

    def write(self, index: int, gradients: dict[str, GradientStatistics]) -> None:
        """Writes the gradients of one block's linears."""
        tensors = {
            f"{linear}{MARK}{name}": value
            for linear, statistics in gradients.items()
            for name, value in statistics.values.items()
        }
        save_file(tensors, self._file(index))

    def read(self, index: int) -> dict[str, GradientStatistics]:
        """The gradients of one block's linears, by the linears' names."""
        values: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(self._file(index), device=str(self.device)).items():
            linear, name = key.split(MARK)
            values.setdefault(linear, {})[name] = tensor
        return {linear: GradientStatistics(named) for linear, named in values.items()}

    def _file(self, index: int) -> Path:
        return self.folder / f"gradients-{index}.safetensors"


@contextlib.contextmanager
def block_gradients(
    reader: Reader, windows: torch.Tensor, compute: Compute, names: tuple[str, ...], folder: Path
) -> Iterator[BlockGradients | None]:
    """Gradients of all blocks by the named accumulators, as files in `folder` for a while.

    None where no accumulator is named.
    """
    if not names:
        yield None
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        gradients = BlockGradients(folder, compute.torch_device)
        accumulators = {name: GRADIENT_ACCUMULATORS[name] for name in names}
        for block in walk_backwards(reader, windows, compute, accumulators):
            gradients.write(block.index, block.gradients)
        yield gradients
    finally:
        shutil.rmtree(folder)
