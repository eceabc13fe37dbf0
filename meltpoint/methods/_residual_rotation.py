"""Changes of the residual stream's basis, from one site of a decoder block to the next.

The stream has three sites in a block: in front of attention, in front of the MLP, and behind it. At
each site a basis, float64 [width, kept] with orthonormal columns, takes the stream to coordinates. The
linears that read the stream take the norm's factors and the basis into their columns. The linear that
writes to it takes the next site's basis into its rows. Products are in float64; weights keep their
dtype.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from meltpoint.model import shaped, surgery
from meltpoint.model.block_parts import BlockParts, scale_of

# Rows of a matrix that are converted to float64 at a time: an embedding has many.
ROWS = 8192


@dataclass(frozen=True)
class Half:
    """Attention or MLP of a block.

    `norm` is the name of the norm in front, `readers` are the linears that read the stream through it,
    `writer` is the linear that writes to the stream: None where an earlier step has removed the half.
    `normalised` is True where a norm follows the writer. Its factors are of the stream's own channels,
    so the basis comes behind it, as a matrix. `shortcut` and `projection` are the names of the matrices
    in the stream and behind that norm.
    """

    shortcut: str
    projection: str
    norm: str
    normalised: bool
    readers: tuple[nn.Module, ...] = ()
    writer: nn.Module | None = None

    def passes(self, block: nn.Module) -> bool:
        """True if the stream passes unchanged, because earlier steps removed the whole half."""
        return self.writer is None and getattr(block, self.shortcut, None) is None


def halves(block: nn.Module) -> tuple[Half, Half]:
    """Attention and MLP of a block."""
    parts = BlockParts(block)
    attention = (parts.queries, parts.keys, parts.values) if parts.has_attention else ()
    mlp = tuple(parts.mlp_inputs) if parts.has_mlp else ()
    names = zip(
        surgery.SHORTCUTS,
        surgery.PROJECTIONS,
        (parts.layout.attention_norms, parts.layout.mlp_norms),
        (attention, mlp),
        (
            parts.attention_output if parts.has_attention else None,
            parts.mlp_output if parts.has_mlp else None,
        ),
        strict=True,
    )
    first, second = (
        Half(shortcut, projection, before, after is not None, readers, writer)
        for shortcut, projection, (before, after), readers, writer in names
    )
    return first, second


def read(block: nn.Module, half: Half, basis: torch.Tensor, epsilon: float, divisor: int) -> None:
    """Changes a half in place so that it reads the stream's coordinates; its norm loses its factors.

    The norm must divide by the root of sum x^2 / `divisor` + `epsilon`. torch's norm divides the sum by
    the number of coordinates; the linears take up the ratio, and the norm's epsilon is adapted.
    """
    norm, kept = block.get_submodule(half.norm), basis.shape[1]
    scale, shift = scale_of(norm), getattr(norm, "bias", None)
    columns = basis if scale is None else scale.double()[:, None] * basis
    columns = columns * math.sqrt(divisor / kept)
    for linear in half.readers:
        first, last = ends(linear)
        if shift is not None:
            added = first.weight.double() @ shift.double()
            added = added if first is last else last.weight.double() @ added
            bias = added if last.bias is None else last.bias.double() + added
            surgery.set_bias(linear, bias.to(first.weight.dtype))
        surgery.set_parameter(first, "weight", product(first.weight, columns))
    unit = nn.RMSNorm(kept, epsilon * divisor / kept, elementwise_affine=False)
    block.set_submodule(half.norm, unit)


def write(block: nn.Module, half: Half, basis: torch.Tensor) -> None:
    """Changes a half in place so that it writes the stream's coordinates.

    That is done in its linear, or by a matrix behind its last norm.
    """
    if half.writer is None:
        return
    if not half.normalised:
        write_rows(half.writer, basis)
        return
    dtype = ends(half.writer)[1].weight.dtype
    old = getattr(block, half.projection, None)
    matrix = basis.to(dtype) if old is None else product(old, basis)
    surgery.set_projection(block, half.projection, matrix)


def write_rows(linear: nn.Module, basis: torch.Tensor) -> None:
    """Changes a linear, or the second of two factors, in place: its rows write coordinates."""
    _, last = ends(linear)
    dtype = last.weight.dtype
    surgery.set_parameter(last, "weight", (basis.T @ last.weight.double()).to(dtype))
    if last.bias is not None:
        surgery.set_parameter(last, "bias", (last.bias.double() @ basis).to(dtype))


def product(weight: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Matrix product of weight and basis, computed in float64 part by part, in the weight's dtype."""
    return torch.cat([(part.double() @ basis).to(weight.dtype) for part in weight.split(ROWS)])


def ends(linear: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    """The linears that hold the columns and the rows: two factors, or twice the linear itself."""
    return (linear[0], linear[-1]) if isinstance(linear, nn.Sequential) else (linear, linear)


def epsilon_of(block: nn.Module, half: Half) -> float:
    """Epsilon of the norm in front of a half."""
    return shaped.norm_of(block.get_submodule(half.norm)).eps


def subtracts_mean(blocks: nn.ModuleList) -> bool:
    """True for a decoder whose norms subtract the mean of the stream's channels."""
    return any(isinstance(module, nn.LayerNorm) for module in blocks.modules())


def is_rotated(block: nn.Module) -> bool:
    """True for a block whose stream an earlier step has rotated."""
    return any(getattr(block, name, None) is not None for name in surgery.SHORTCUTS)
