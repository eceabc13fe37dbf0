"""Which units a structured method cuts, by their scores and a level."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._reach import nearest_level
from meltpoint.methods._units import Units
from meltpoint.methods.contract import Tensor

# Of one block, a tensor by "attention" and "mlp".
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Size:
    """Parameters of the dense decoder, and of the decoder at hand with all units that may be cut.

    Both may be those of a part of the decoder alone.
    """

    dense: float
    uncut: float

    def gone(self, cut: float) -> float:
        """Fraction of the dense parameters that is gone when so many of those here are cut."""
        return 1 - (self.uncut - cut) / self.dense

    def share(self, fraction: float) -> "Size":
        """The same fraction of both."""
        return Size(self.dense * fraction, self.uncut * fraction)


class Pool:
    """Units that compete with each other: of some blocks, of one kind or both."""

    def __init__(
        self, scores: Sequence[Parts], blocks: Sequence[Units], indices: Iterable[int], *parts: str
    ) -> None:
        self.entries = [(i, part) for part in parts for i in indices if part in scores[i]]
        every = [scores[index][part] for index, part in self.entries]
        self.lengths = [len(values) for values in every]
        self.scores = torch.cat(every) if every else torch.empty(0)
        costs = [blocks[index].cost_of(part) for index, part in self.entries]
        lengths = torch.tensor(self.lengths, dtype=torch.int64)
        self.costs = torch.tensor(costs, dtype=torch.int64).repeat_interleave(lengths)

    def spread(self, mask: Tensor, kept: Sequence[Parts]) -> None:
        """Puts a mask of the pool's units in its places in the masks of the blocks."""
        for (index, part), values in zip(self.entries, mask.split(self.lengths), strict=True):
            kept[index][part] = values


def per_unit(columns: Tensor, units: int) -> Tensor:
    """Mean score of each unit's columns: [units] of [columns]."""
    return columns.reshape(units, -1).mean(dim=1)


def keep_highest(scores: Tensor, cut: int) -> Tensor:
    """Mask of the units that are left when the `cut` lowest are gone, bool [units].

    Units that tie with the lowest that is left are all left.
    """
    return scores >= (scores.sort().values[cut] if cut < len(scores) else math.inf)


def ratio_of_parameters(method: str, blocks: Sequence[Units], size: Size, wanted: float) -> float:
    """Ratio of the units of each kind and block whose cut brings a size nearest to a level.

    `size` counts the blocks' units before the cut, `wanted` is a fraction of its dense parameters.
    Raises NotApplicable where none comes near.
    """
    totals = {units for block in blocks for units in (block.heads, block.neurons) if units}
    # A ratio of k / n must count k units, whatever its rounding.
    ratios = sorted({k / n * (1 + 1e-12) for n in totals for k in range(n)})
    grid = torch.tensor(ratios, dtype=torch.float64)
    cut = torch.zeros_like(grid)
    for block in blocks:
        cut += (grid * block.heads).floor() * block.head_cost
        cut += (grid * block.neurons).floor() * block.neuron_cost
    return ratios[nearest_level(method, [size.gone(x) for x in cut.tolist()], wanted)]


def check_cut(step: str, units: int, left: int) -> None:
    """Raises NotApplicable where none of the decoder's heads and neurons is cut, or none left."""
    if left in (0, units):
        amount = "none" if left else "all"
        raise NotApplicable(f"{step} removes {amount} of the decoder's {units} heads and neurons")
