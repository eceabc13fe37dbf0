"""Bits of a stored tensor: of all entries, or without the pruned ones plus a mask."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """Sizes of a tensor. It takes `stored` bits in the file, and each entry needs `code` bits.

    With a mask, `pruned` of its `count` entries need no bits; `masked` is true if a mask is necessary.
    `scales` are the bits of scales and zero points.
    """

    count: int
    nonzeros: int
    stored: int
    code: int
    pruned: int
    scales: int
    masked: bool = False

    @property
    def packed(self) -> int:
        """Bits of all entries and scales."""
        return self.count * self.code + self.scales

    @property
    def bits(self) -> int:
        """Bits with pruned entries dropped and a one-bit mask added, if that is smaller."""
        mask = self.count - self.pruned * self.code
        return self.packed + (mask if self.masked else min(0, mask))


def counts(tensors: Collection[Tensor]) -> dict[str, float]:
    """Number of parameters, of those that are not zero, and mean number of bits of a weight."""
    return {
        "parameters": sum(tensor.count for tensor in tensors),
        "nonzeros": sum(tensor.nonzeros for tensor in tensors),
        "bits_per_weight": bits_per_weight(tensors),
    }


def bits_per_weight(tensors: Iterable[Tensor]) -> float:
    """Mean bits of a weight; NaN where there is none."""
    tensors = list(tensors)
    weights = sum(tensor.count for tensor in tensors)
    return sum(tensor.bits for tensor in tensors) / weights if weights else float("nan")
