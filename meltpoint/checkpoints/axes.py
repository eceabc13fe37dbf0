"""Counts how far a checkpoint is compressed on each axis."""

from meltpoint.checkpoints.description import Achieved
from meltpoint.checkpoints.linears import Linear


def reached(matrices: dict[str, Linear], parameters: int, dense: int, itemsize: int) -> dict:
    """Fields `achieved`, `zeros_lost` and `rounded` of a description.

    `matrices` are facts about all matrices of the blocks. `parameters` counts the decoder's parameters,
    `dense` those of the dense decoder. `itemsize` is the number of bytes of an unquantised weight.
    Zeros that came of rounding do not count as achieved zeros; `rounded` is their fraction.
    """
    count = sum(linear.count for linear in matrices.values()) or 1
    zeros = sum(linear.zeros - linear.zeros_rounded for linear in matrices.values())
    bits = sum(linear.stored_bits(8 * itemsize) for linear in matrices.values())
    achieved = Achieved(zeros=zeros / count, parameters=1 - parameters / dense, bits=bits / count)
    return {
        "achieved": achieved,
        "zeros_lost": sum(linear.zeros_lost for linear in matrices.values()),
        "rounded": sum(linear.zeros_rounded for linear in matrices.values()) / count,
    }
