"""The residual stream sliced on its way through the decoder: each site's basis, and weights in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from meltpoint.compute import all_finite, overflow
from meltpoint.errors import MeltpointError
from meltpoint.methods import _residual_rotation as rotation
from meltpoint.methods._principal_components import (
    covariance,
    principal_components,
    random_rotation,
)
from meltpoint.methods._residual_rotation import Half
from meltpoint.methods.settings import MethodSettings
from meltpoint.model import surgery
from meltpoint.model.block_walk import Block


@dataclass
class Stream:
    """The residual stream on its way through the blocks.

    `kept` is the width that is left of it, `basis` the basis of the next site, float64 [width, kept],
    and `embedding` what embeddings are multiplied by. `centred` says that the norms subtract the mean.
    `sites` counts the bases so far.
    """

    settings: MethodSettings
    kept: int
    centred: bool
    basis: torch.Tensor | None = None
    embedding: torch.Tensor | None = None
    sites: int = 0

    def basis_of(self, total: torch.Tensor, block: Block) -> torch.Tensor:
        """Basis [width, kept] by a covariance of the stream in or in front of a block.

        Raises MeltpointError if the stream is not finite.
        """
        if not all_finite(total):
            place = f"block {block.index}" if self.sites else "the embeddings"
            dtype = str(block.hidden.dtype).removeprefix("torch.")
            raise MeltpointError(overflow("the residual stream", place, dtype))
        basis = principal_components(total, self.kept)
        if self.centred:
            basis = basis - basis.mean(dim=0)
        if self.settings.final_orientation == "random":
            seed = (self.settings.seed or 0) + self.sites
            basis = basis @ random_rotation(basis.shape[1], seed).to(basis.device)
        self.sites += 1
        return basis


def enter(block: Block, stream: Stream) -> None:
    """Rotates and slices the first block's inputs."""
    off_centre = stream.settings.center_embeddings and not rotation.is_rotated(block.module)
    centre = stream.centred or off_centre
    inputs = (block.hidden[batch] for batch in block.batches())
    stream.basis = stream.basis_of(covariance(inputs, centre), block)
    stream.embedding = stream.basis - stream.basis.mean(dim=0) if centre else stream.basis
    block.replace_hidden(block.hidden @ stream.embedding.to(block.hidden.dtype))


def slice_block(block: Block, stream: Stream) -> None:
    """Rotates and slices the stream through a block, on one pass of the windows.

    Memory holds the stream behind attention for all windows, in the full width of its site.
    """
    attention, mlp = rotation.halves(block.module)
    shortcut, inputs = None, block.hidden
    if not attention.passes(block.module):
        shortcut, inputs = _slice_attention(block, attention, stream)
    if mlp.passes(block.module) and not _is_last(block):
        surgery.set_shortcuts(block.module, shortcut)
    else:
        _slice_mlp(block, mlp, stream, shortcut, inputs)


def _slice_attention(block: Block, half: Half, stream: Stream) -> tuple[torch.Tensor, torch.Tensor]:
    """The stream's matrix up to the MLP, and its coordinates there for all windows."""
    module, dtype = block.module, block.hidden.dtype
    lead = _read(module, half, stream)
    surgery.set_shortcuts(module, lead.to(dtype), getattr(module, "mlp_shortcut", None))
    surgery.end_after_attention(module)
    outputs = block.hidden.new_empty(*block.hidden.shape[:-1], lead.shape[1])

    def run() -> Iterator[torch.Tensor]:
        for batch in block.batches():
            outputs[batch] = block.forward(batch)
            yield outputs[batch]

    stream.basis = stream.basis_of(covariance(run(), stream.centred), block)
    rotation.write(module, half, stream.basis)
    return (lead @ stream.basis).to(dtype), outputs @ stream.basis.to(dtype)


def _slice_mlp(
    block: Block, half: Half, stream: Stream, shortcut: torch.Tensor | None, inputs: torch.Tensor
) -> None:
    """Rotates and slices the MLP, whose `inputs` are coordinates; the last one's output stays."""
    module, dtype = block.module, block.hidden.dtype
    lead = _read(module, half, stream)
    surgery.set_shortcuts(module, shortcut, lead.to(dtype))
    if _is_last(block):
        return
    outputs = (surgery.mlp_half(module, inputs[batch]) for batch in block.batches())
    stream.basis = stream.basis_of(covariance(outputs, stream.centred), block)
    rotation.write(module, half, stream.basis)
    surgery.set_shortcuts(module, shortcut, (lead @ stream.basis).to(dtype))


def _read(module: nn.Module, half: Half, stream: Stream) -> torch.Tensor:
    """Lets a half read coordinates; returns the matrix from these to the next site's full width."""
    basis, settings = stream.basis, stream.settings
    if half.writer is not None:
        epsilon = settings.norm_epsilon or rotation.epsilon_of(module, half)
        divisor = basis.shape[0 if settings.norm_divisor == "model" else 1]
        rotation.read(module, half, basis, epsilon, divisor)
    old = getattr(module, half.shortcut, None)
    return basis.T if old is None else basis.T @ old.double()


def _is_last(block: Block) -> bool:
    return block.index == block.count - 1
