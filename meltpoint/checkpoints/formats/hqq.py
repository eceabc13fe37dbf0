"""HQQ: codes of 2 to 8 bits in groups, each with a scale and a zero point that is no integer.

The weight, flattened, is a matrix [groups, size] (axis 1) or [size, groups] (axis 0). Its codes q are
packed by rows, the first rows in the highest bits: 8 / bits of them in a byte, ten of 3 bits in an
int32 (rows filled up with zeros). ``w^ = (q - zero) scale`` is computed in the dtype of zero and scale,
roundings included, as hqq does where it is told to compute in that dtype. The tensors of a linear are
those of hqq's `HQQLinear.state_dict()`, numbers and words encoded as tensors too.
"""

from collections.abc import Container

import torch

from meltpoint.checkpoints.linears import Quantized

PARTS = ("W_q", "scale", "zero", "packing", "shape", "axis", "group_size")
# For each packing the bits of a code, and its shifts within a stored number, row by row.
PACKINGS = {
    "8bit_u8": (8, (0,)),
    "4bit_u8": (4, (4, 0)),
    "3bit_32": (3, range(27, -1, -3)),
    "2bit_u8": (2, (6, 4, 2, 0)),
}


def parts(linear: str, keys: Container[str]) -> dict[str, str]:
    """The stored tensors of a linear; none where it is stored plainly."""
    if f"{linear}.W_q" not in keys:
        return {}
    return {name: f"{linear}.{name}" for name in PARTS}


def decode(parts: dict[str, torch.Tensor], config: dict) -> torch.Tensor:
    """The weight [rows, columns], float32."""
    bits, shifts = _packing(parts)
    packed = parts["W_q"].view(torch.int32 if bits == 3 else torch.uint8)
    codes = torch.cat([(packed >> shift) & (2**bits - 1) for shift in shifts])
    shape, size = parts["shape"].tolist(), int(parts["group_size"])
    rows = size if int(parts["axis"]) == 0 else shape[0] * shape[1] // size
    scale, zero = parts["scale"], parts["zero"]
    return ((codes[:rows].to(scale.dtype) - zero) * scale).view(shape).float()


def grid(parts: dict[str, torch.Tensor], config: dict) -> Quantized:
    """Bits, groups and scales of the weight. The zero point is a float, so it counts as a scale.

    The grid therefore contains 0 only by chance. With axis 0 a group is not a part of a row.
    """
    scale_bits = 8 * (parts["scale"].element_size() + parts["zero"].element_size())
    bits, _ = _packing(parts)
    return Quantized(bits, int(parts["group_size"]), True, scale_bits, holds_zero=False)


def _packing(parts: dict[str, torch.Tensor]):
    return PACKINGS[bytes(parts["packing"].tolist()).decode()]
