"""Gradients for methods that work block by block: collected before the walk, read back block by block.

The forward walk changes the blocks through which gradients flow. All gradients are therefore taken of
the model before the step. They are kept in files, because one accumulator takes as many bytes as the
decoder's linears in float32.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, worth_keeping
from meltpoint.files import sync, write_json
from meltpoint.model.backward_walk import walk_backwards
from meltpoint.model.gradient_statistics import GRADIENT_ACCUMULATORS, GradientStatistics

# Separates the name of a linear from that of an accumulator.
MARK = "/"
# File with the origin of the gradients in a folder. It is written last, so it marks a whole folder.
ORIGIN = "origin.json"


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
    reader: Reader,
    windows: torch.Tensor,
    compute: Compute,
    names: tuple[str, ...],
    folder: Path,
    origin: dict[str, str] | None = None,
) -> Iterator[BlockGradients | None]:
    """Context in which `folder` holds the gradients of all blocks, by the named accumulators.

    Yields None if no accumulator is named. With an `origin` (`walk_state.origin_of`) a job that runs
    again after it was killed, with the same origin, finds the gradients of the first run.
    """
    if not names:
        yield None
        return
    gradients = BlockGradients(folder, compute.torch_device)
    if origin is None or _origin_in(folder) != origin:
        _collect(gradients, reader, windows, compute, names, origin)
    try:
        yield gradients
    except BaseException:
        if _origin_in(folder) is None:
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _collect(
    gradients: BlockGradients,
    reader: Reader,
    windows: torch.Tensor,
    compute: Compute,
    names: tuple[str, ...],
    origin: dict[str, str] | None,
) -> None:
    """Walks backwards and writes the gradients. Deletes the folder if that fails."""
    folder, start = gradients.folder, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        accumulators = {name: GRADIENT_ACCUMULATORS[name] for name in names}
        for block in walk_backwards(reader, windows, compute, accumulators):
            gradients.write(block.index, block.gradients)
    except BaseException:
        shutil.rmtree(folder)
        raise
    if origin is not None and worth_keeping(compute.resume, time.monotonic() - start):
        for file in folder.iterdir():
            sync(file)
        write_json(folder / ORIGIN, origin)


def _origin_in(folder: Path) -> dict[str, str] | None:
    """Origin of the gradients in a folder; None if they are missing or incomplete."""
    try:
        return json.loads((folder / ORIGIN).read_text())
    except (OSError, ValueError):
        return None
