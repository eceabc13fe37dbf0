"""What a checkpoint says of its decoder's linears: shape, zeros, and how one can be stored."""

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Quantized:
    """A linear [rows, columns] whose weights are codes of `bits` on the grids of their groups.

    In a row every `group_size` columns (-1: all; the last group may be shorter) share a scale of
    `scale_bits` and, unless the grid is `symmetric`, a zero point of `bits`. Where zero is on no grid
    (`holds_zero`) pruned weights need a mask.
    """

    bits: int
    group_size: int
    symmetric: bool
    scale_bits: int = 16
    holds_zero: bool = True

    def overhead(self, rows: int, columns: int) -> int:
        """The bits of all scales and zero points."""
        groups = 1 if self.group_size == -1 else math.ceil(columns / self.group_size)
        return rows * groups * (self.scale_bits + (0 if self.symmetric else self.bits))


class Before:
    """A linear's weight as a step finds it, with what the checkpoint says of it (`facts`)."""

    def __init__(self, weight, facts: dict) -> None:
        zeros = count_zeros(weight)
        self.stored: dict | None = facts.get("stored")
        self.pruned = zeros - facts.get("zeros_rounded", 0)
        self._zeros = weight == 0 if zeros else None
        self._weight = weight.clone() if self.stored else None

    def lost(self, weight) -> int:
        """How many zeros have been filled."""
        if self._zeros is None:
            return 0
        same = self._zeros.shape == weight.shape
        return int((self._zeros & (weight != 0)).sum() if same else self._zeros.sum())

    def holds(self, weight) -> bool:
        """Whether the step has changed no weight but to zero."""
        same = self._weight.shape == weight.shape
        return same and bool(((weight == self._weight) | (weight == 0)).all())


def describe(weight, before: Before, made: Quantized | None) -> dict:
    """A linear after a step that has `made` it storable so, or has not said anything (None).

    How it could be stored before still holds where no weight has changed but to zero. Of its `zeros`
    those that quantising alone has made are `zeros_rounded`; a later step counts them as its own.
    """
    zeros, lost = count_zeros(weight), before.lost(weight)
    facts = {"shape": list(weight.shape), "zeros": zeros, "zeros_lost": lost}
    if made is not None:
        rounded = zeros - (before.pruned - lost)
        return {**facts, "zeros_rounded": rounded, "stored": asdict(made)}
    if before.stored and before.holds(weight):
        return {**facts, "stored": before.stored}
    return facts


def count_zeros(weight) -> int:
    return weight.numel() - int(weight.count_nonzero())
