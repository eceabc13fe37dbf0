"""The walk backwards: gradients of the model's loss, block by block.

A forward pass keeps the hidden states at the borders of the blocks. Final norm, head and loss give the
gradient at the last border. Then each block, from the last to the first, runs again with gradients on,
batch by batch. That gives the gradients of its weights and the gradient at the border before it.

Memory holds one block's weights, its accumulators, the inputs of all blocks [blocks, windows, tokens,
width] (in files if they would exceed `compute.memory`) and one gradient [windows, tokens, width]. The
cost is about four forward passes: the first one, the second run of each block, and two for the
gradients of its inputs and of its weights.
"""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, overflow, trim_memory
from meltpoint.errors import MeltpointError
from meltpoint.files import clear_disk_errors
from meltpoint.memory import usable_bytes
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.gradient_statistics import (
    GradientAccumulator,
    GradientCollector,
    GradientStatistics,
)
from meltpoint.model.outer_gradients import OuterGradients
from meltpoint.model.token_losses import head_batches, head_of
from meltpoint.progress import track
from meltpoint.text import human_bytes


@dataclass(frozen=True)
class BlockGradients:
    """A block with its weights loaded, and the gradients of the loss with respect to them.

    `gradients` are by the names of the linears and, if vectors were asked for, of the vectors.
    `accumulators` are the objects that collected them, for classes that keep more than a value.
    `losses` are the whole model's losses, float32 [windows].
    """

    index: int
    module: nn.Module
    linears: dict[str, nn.Linear]
    gradients: dict[str, GradientStatistics]
    accumulators: dict[str, dict[str, GradientAccumulator]]
    losses: torch.Tensor


class Borders:
    """The hidden states at the blocks' borders, in memory or, given a folder, in its files."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._held: dict[int, torch.Tensor] = {}

    def keep(self, index: int, hidden: torch.Tensor) -> None:
        """Keeps a copy of the inputs of a block."""
        if self.folder is None:
            self._held[index] = hidden.clone()
        else:
            save_file({"hidden": hidden.contiguous().cpu()}, self._file(index))

    def take(self, index: int, device: torch.device) -> torch.Tensor:
        """The inputs of a block on the device [windows, tokens, width]; drops the kept copy."""
        if self.folder is None:
            return self._held.pop(index)
        hidden = load_file(self._file(index), device=str(device))["hidden"]
        self._file(index).unlink()
        return hidden

    def _file(self, index: int) -> Path:
        return self.folder / f"border-{index}.safetensors"


def walk_backwards(
    reader: Reader,
    windows: torch.Tensor,
    compute: Compute,
    accumulators: Mapping[str, type[GradientAccumulator]],
    folder: Path | None = None,
    token_weights: torch.Tensor | None = None,
    vectors: bool = False,
    prepare: Callable[[nn.Module], None] | None = None,
    outer: OuterGradients | None = None,
) -> Iterator[BlockGradients]:
    """Yields each block with the gradients of its linears' weights, from the last to the first.

    `windows` are tokens, int64 [windows, tokens]; a window's loss is the mean cross-entropy of its next
    tokens or, given `token_weights` [windows, tokens - 1], the sum weighted by these. `accumulators`
    are classes by names (`meltpoint.model.gradient_statistics`): each is shown one window's gradient
    after the other, in the order of the windows. With `vectors` there are gradients of biases and norms
    too, by the parameters' names in the block. `prepare` may change a block, into one that computes the
    same, before it runs backwards. What is yielded is valid until the next block. `outer` collects
    what is around the blocks, and has all of it when the walk is over. The inputs of the blocks are
    kept in `folder`, or where they fit. Raises MeltpointError for gradients that are not finite.
    """
    walk, losses_of = Walk(reader, windows, compute), WindowLosses(windows, token_weights)
    with torch.no_grad():
        walk.embed()
    with _borders_of(walk, folder) as borders:
        yield from _blocks(walk, borders, losses_of, accumulators, vectors, prepare, outer)


@contextlib.contextmanager
def _borders_of(walk: Walk, folder: Path | None) -> Iterator[Borders]:
    """In the folder if there is one, else in memory, or in temporary files where it is too small."""
    needed = len(walk.blocks) * walk.hidden.numel() * walk.hidden.element_size()
    if folder is not None or needed <= usable_bytes(walk.compute):
        yield Borders(folder)
        return
    with tempfile.TemporaryDirectory(prefix="meltpoint-") as scratch:
        logging.info("The inputs of all blocks, %s, are kept in %s", human_bytes(needed), scratch)
        remedy = f"it takes {human_bytes(needed)}: set TMPDIR to a folder of another disk"
        with clear_disk_errors(Path(scratch), remedy):
            yield Borders(Path(scratch))


def _blocks(
    walk: Walk,
    borders: Borders,
    losses_of: "WindowLosses",
    accumulators: Mapping[str, type[GradientAccumulator]],
    vectors: bool,
    prepare: Callable[[nn.Module], None] | None,
    outer: OuterGradients | None,
) -> Iterator[BlockGradients]:
    compute, reader = walk.compute, walk.reader
    with torch.no_grad():
        _run_forward(walk, borders)
        gradient, losses = _last_gradient(walk, losses_of, outer)
    for index in track(range(len(walk.blocks) - 1, -1, -1), "gradients: blocks"):
        names, block = walk.names(index), walk.blocks[index]
        empty_model.fill(walk.model, reader.read(names))
        if prepare is not None:
            prepare(block)
        inputs = borders.take(index, compute.torch_device)
        linears, others = empty_model.linears(block), block if vectors else None
        collector = GradientCollector(linears, accumulators, len(walk.windows), others)
        gradient = _run_backward(walk, index, inputs, gradient, collector, losses_of.scales)
        statistics = collector.statistics()
        if not all(values.finite() for values in statistics.values()):
            gradients = f"the gradients of block {index}"
            raise MeltpointError(overflow(gradients, f"block {index}", compute.dtype))
        yield BlockGradients(index, block, linears, statistics, collector.accumulators(), losses)
        empty_model.empty(walk.model, names)
        del inputs, linears, collector, statistics
        trim_memory()
    if outer is not None:
        outer.take_embeddings(walk, gradient, losses_of.scales)


class WindowLosses:
    """Loss of each window from those of its tokens, in two factors.

    In half precision small gradients would vanish. The losses of tokens are therefore summed with
    weights of at most one. The accumulators apply the other factor, one scale for each window.
    """

    def __init__(self, windows: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        count, tokens = windows.shape
        self.scales, self._relative = [1 / (tokens - 1)] * count, None
        if weights is not None:
            largest = weights.double().amax(dim=1)
            self.scales = largest.tolist()
            self._relative = weights / torch.where(largest > 0, largest, 1)[:, None]

    def of(self, batch: slice, losses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum to be differentiated, and the loss of each window, float32 [windows].

        `losses` are those of the tokens of a batch of windows, [windows, tokens - 1].
        """
        if self._relative is None:
            return losses.sum(), losses.detach().mean(dim=1).float()
        weighted = losses * self._relative[batch].to(losses)
        scales = weighted.new_tensor(self.scales[batch])
        return weighted.sum(), (weighted.detach().sum(dim=1) * scales).float()


def _run_forward(walk: Walk, borders: Borders) -> None:
    """Keeps the inputs of every block; leaves the last block's outputs in the walk's `hidden`."""
    for index in range(len(walk.blocks)):
        names = walk.names(index)
        borders.keep(index, walk.hidden)
        empty_model.fill(walk.model, walk.reader.read(names))
        walk.advance(index)
        empty_model.empty(walk.model, names)


def _last_gradient(
    walk: Walk, losses_of: WindowLosses, outer: OuterGradients | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of the summed losses at the last border, and the loss of each window."""
    gradient = torch.empty_like(walk.hidden)
    losses = []
    with head_of(walk) as token_losses, contextlib.ExitStack() as stack:
        head = None if outer is None else stack.enter_context(outer.around_head(walk))
        for batch in head_batches(walk, walk.batches()):
            hidden = walk.hidden[batch].detach().requires_grad_()
            scales = losses_of.scales[batch]
            listening = contextlib.nullcontext() if head is None else head.backward_pass(scales)
            with torch.enable_grad(), listening:
                total, loss = losses_of.of(batch, token_losses(walk.windows[batch], hidden))
                gradient[batch] = torch.autograd.grad(total, hidden)[0]
            losses.append(loss)
    walk.hidden = None
    return gradient, torch.cat(losses)


def _run_backward(
    walk: Walk,
    index: int,
    inputs: torch.Tensor,
    gradient: torch.Tensor,
    collector: GradientCollector,
    scales: list[float],
) -> torch.Tensor:
    """Runs a block again with gradients on; returns the gradient of its inputs.

    It overwrites the gradient of the outputs, unless the block changes the width of the stream.
    """
    before = gradient if gradient.shape == inputs.shape else torch.empty_like(inputs)
    for batch in walk.batches():
        count = batch.stop - batch.start
        hidden = inputs[batch].detach().requires_grad_()
        with torch.enable_grad(), collector.backward_pass(scales[batch]):
            outputs = walk.forward(index, slice(0, count), inputs=hidden)
            before[batch] = torch.autograd.grad(outputs, hidden, gradient[batch])[0]
    return before
