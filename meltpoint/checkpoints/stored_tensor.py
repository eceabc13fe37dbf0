"""A tensor as it is stored: the bits of its entries, as they are or with pruned ones left out."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """A tensor as it is counted: `stored` bits in the file, of which its entries need `code` each.

    `pruned` of its `count` entries need none where a mask says which, and `masked` says that one must;
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
        """The bits of all its entries."""
        return self.count * self.code + self.scales

    @property
    def bits(self) -> int:
        """Bits with pruned entries dropped and a one-bit mask added, if that is smaller."""
        mask = self.count - self.pruned * self.code
        return self.packed + (mask if self.masked else min(0, mask))


def counts(tensors: Collection[Tensor]) -> dict[str, float]:
    """Parameters, those that are not zero, and the mean bits of a weight."""
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
