"""Round-to-nearest: weights are rounded to the nearest of the 2^b levels that span their group.

In each row every `group_size` columns (the last group may be shorter) have a grid of their own:
``w^ = s (clamp(round(w / s) + z, 0, 2^b - 1) - z)`` with ``s = (max - min) / (2^b - 1)`` and
``z = round(-min / s)``, max and min over the group's weights and 0. So z is a code and zero a level:
zeros stay zero. With `symmetric` ``max = max |w| = -min`` and ``z = 2^(b-1)``: 2^(b-1) levels lie
below zero and one less above, where the largest weight loses half a step.

Both grids are those of GPTQ's code, with two differences. GPTQ's code cuts a symmetric group
without negative weights at half its maximum. Scales are float16 here, as kernels store them: codes
are chosen for the scale as stored, and the checkpoint holds what a kernel would compute with, in
the study's dtype. Published baselines have a scale per row (`group_size=-1`: Frantar et al.) or per
128 columns (Lin et al., "AWQ", MLSys 2024). The last group may also be short in GPTQ; many kernels
refuse this.

Dettmers and Zettlemoyer, "The case for 4-bit precision: k-bit Inference Scaling Laws", ICML 2023;
the baseline of Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for
Generative Pre-trained Transformers", ICLR 2023.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from meltpoint.chain import Bits
from meltpoint.checkpoints.linears import Quantized
from meltpoint.lazy_import import torch
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import MethodSettings

kind = "quantization"
levels = (Bits,)
bits = tuple(range(2, 9))
env = "torch"
statistics = ()

# The smallest float16 above zero, the scale of groups of zeros or tiny weights.
LEAST_SCALE = 2.0**-24


class Settings(MethodSettings):
    """Size and symmetry of the grids."""

    group_size: Annotated[int, Field(ge=-1), AfterValidator(lambda size: size or -1)] = Field(
        128, description="Number of columns of a row that share a scale. -1 (or 0): the whole row."
    )
    symmetric: bool = Field(
        False, description="Whether the grid's middle is zero, without zero points."
    )


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Bits, settings: Settings
) -> dict[str, Quantized]:
    """Rounds the weights of the block's linears in place; returns by name how each can be stored."""
    for linear in block.linears.values():
        rounded = quantize(linear.weight, level.bits, settings.group_size, settings.symmetric)
        linear.weight.copy_(rounded)
    stored = Quantized(level.bits, settings.group_size, settings.symmetric)
    return dict.fromkeys(block.linears, stored)


def quantize(weight: Tensor, bits: int, group_size: int, symmetric: bool) -> Tensor:
    """The weight [rows, columns] with each entry on its group's grid, in float32."""
    columns = weight.shape[1]
    size = columns if group_size == -1 else min(group_size, columns)
    # Zeros fill up the last group. They do not change its grid, as zero is in every range.
    filled = torch.nn.functional.pad(weight.float(), (0, -columns % size))
    groups = filled.unflatten(1, (-1, size))
    scale, zero = grids(groups, bits, symmetric)
    codes = (groups / scale).round_().add_(zero).clamp_(0, 2**bits - 1)
    return codes.sub_(zero).mul_(scale).flatten(1)[:, :columns]


def grids(groups: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Scale and zero point of each group of [rows, groups, size], both [rows, groups, 1]."""
    low, high = (end.clone() for end in groups.aminmax(dim=2, keepdim=True))
    low, high = low.clamp_(max=0), high.clamp_(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    scale = ((high - low) / (2**bits - 1)).half().float().clamp_(min=LEAST_SCALE)
    if symmetric:
        return scale, torch.full_like(scale, 2 ** (bits - 1))
    return scale, (-low / scale).round_().clamp_(max=2**bits - 1)
