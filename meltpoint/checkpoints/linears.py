"""Facts about the linears of a checkpoint's decoder: shape, zeros, and quantization grid."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Quantized:
    """A linear [rows, columns] whose weights are codes of `bits` on the grids of their groups.

    In a row every `group_size` columns (-1: all; the last group may be shorter) share a scale of
    `scale_bits` and, unless the grid is `symmetric`, a zero point of `bits`. If `holds_zero` is false,
    the grids do not contain 0, and pruned weights need a mask.
    """

    bits: int
    group_size: int
    symmetric: bool
    scale_bits: int = 16
    holds_zero: bool = True

    def overhead(self, rows: int, columns: int) -> int:
        """Number of bits of all scales and zero points of a matrix [rows, columns]."""
        groups = 1 if self.group_size == -1 else math.ceil(columns / self.group_size)
        return rows * groups * (self.scale_bits + (0 if self.symmetric else self.bits))


class Linear(BaseModel):
    """A linear of the decoder [rows, columns], or one of the two factors that stand for one.

    The factors of the linear NAME are NAME.0 [rank, columns], which runs first, and NAME.1
    [rows, rank]. `zeros` counts the entries that are zero, `zeros_rounded` those of them that came of
    rounding. `zeros_lost` counts earlier zeros that the last step filled, among weights that it kept.
    `stored` is the quantization grid of the weights, None if they are on none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, int]
    zeros: int
    zeros_lost: int = 0
    zeros_rounded: int = 0
    stored: Quantized | None = None

    @property
    def count(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def stored_bits(self, width: int) -> int:
        """Bits of all entries and scales, zeros included; a weight on no grid has `width` bits."""
        if self.stored is None:
            return self.count * width
        return self.count * self.stored.bits + self.stored.overhead(*self.shape)


class LinearBefore:
    """The state of a linear's weight before a step; `facts` are the checkpoint's about it."""

    def __init__(self, weight, facts: Linear | None = None) -> None:
        zeros = count_zeros(weight)
        self.stored = facts.stored if facts else None
        self.pruned = zeros - (facts.zeros_rounded if facts else 0)
        self._zeros = weight == 0 if zeros else None
        self._weight = weight.clone() if self.stored else None

    def lost(self, weight: "torch.Tensor", kept: tuple | None = None) -> int:
        """Number of zeros that the step has filled, among the weights that it kept.

        `kept` is a pair of index tensors, the rows and columns that the step left; None for all. A
        weight of another shape without `kept` is a new one, which keeps none of the earlier weights.
        """
        if self._zeros is None:
            return 0
        zeros = select(self._zeros, kept)
        return int((zeros & (weight != 0)).sum()) if zeros.shape == weight.shape else 0

    def grid_holds(self, weight: "torch.Tensor", kept: tuple | None = None) -> bool:
        """True if the weights are still on their grids, as none has changed except to zero.

        A cut of columns changes the members of groups, so that only grids of whole rows still hold.
        """
        if self.stored is None:
            return False
        earlier = select(self._weight, kept)
        if earlier.shape != weight.shape or (kept and kept[1] is not None and self._grouped):
            return False
        return bool(((weight == earlier) | (weight == 0)).all())

    @property
    def _grouped(self) -> bool:
        return self.stored.group_size not in (-1, self._weight.shape[1])


def select(weight: "torch.Tensor", kept: tuple | None) -> "torch.Tensor":
    """The kept rows and columns of a matrix; `kept` is a pair of index tensors, None for all."""
    rows, columns = kept or (None, None)
    weight = weight if rows is None else weight[rows]
    return weight if columns is None else weight[:, columns]


def describe(
    weight: "torch.Tensor",
    before: LinearBefore | None,
    quantized: Quantized | None,
    kept: tuple | None = None,
) -> Linear:
    """Facts about a linear after a step.

    `quantized` is what the step returned for it, or None. If None, the earlier quantization still
    holds as long as weights only became zero. `zeros_rounded` counts zeros created by rounding, not by
    pruning. `before` is None for a linear that the step has put in the place of another; `kept` as
    for `LinearBefore.lost`.
    """
    before = before or LinearBefore(weight)
    zeros, lost = count_zeros(weight), before.lost(weight, kept)
    rounded = zeros - (before.pruned - lost) if quantized is not None else 0
    stored = quantized or (before.stored if before.grid_holds(weight, kept) else None)
    return Linear(
        shape=tuple(weight.shape),
        zeros=zeros,
        zeros_lost=lost,
        zeros_rounded=rounded,
        stored=stored,
    )


def count_zeros(weight: "torch.Tensor") -> int:
    """Number of zeros of a tensor."""
    return weight.numel() - int(weight.count_nonzero())
