"""Selection of the units that a structured method cuts, by their scores and a level."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._reach import nearest_level
from meltpoint.methods._units import KINDS, Units
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
        """Size of this fraction of the model."""
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


def ratios_of_parameters(
    method: str, blocks: Sequence[Units], size: Size, wanted: float
) -> dict[str, float]:
    """Ratios of the units of each block, by "attention" and "mlp", that reach a level most nearly.

    `size` counts the blocks' units before the cut, `wanted` is a fraction of its dense parameters. The
    heads have the ratio that is best for both kinds; the neurons then make up for the rest. Raises
    NotApplicable for a level beyond all ratios.
    """
    both = _ratios(blocks, KINDS)
    gone = [size.gone(cut) for cut in _cut_by(blocks, KINDS, both)]
    best = both[nearest_level(method, gone, wanted)]
    heads = _cut_by(blocks, KINDS[:1], [best])[0]
    ratios = _ratios(blocks, KINDS[1:])
    gone = [size.gone(heads + cut) for cut in _cut_by(blocks, KINDS[1:], ratios)]
    nearest = min(range(len(ratios)), key=lambda index: abs(gone[index] - wanted))
    return {"attention": best, "mlp": ratios[nearest]}


def _ratios(blocks: Sequence[Units], kinds: Sequence[str]) -> list[float]:
    """The ratios at which the number of units to cut changes in some block, ascending."""
    totals = {block.count_of(kind) for block in blocks for kind in kinds}
    # A ratio of k / n must count k units, whatever its rounding.
    return sorted({k / n * (1 + 1e-12) for n in totals for k in range(n)} | {0.0})


def _cut_by(blocks: Sequence[Units], kinds: Sequence[str], ratios: list[float]) -> list[float]:
    """Parameters that are cut at each ratio of the units of these kinds."""
    grid = torch.tensor(ratios, dtype=torch.float64)
    cut = torch.zeros_like(grid)
    for block in blocks:
        for kind in kinds:
            cut += (grid * block.count_of(kind)).floor() * block.cost_of(kind)
    return cut.tolist()


def check_cut(step: str, units: int, left: int) -> None:
    """Raises NotApplicable where none of the heads and neurons that may go is cut, or none is left."""
    if left in (0, units):
        amount = "none" if left else "all"
        raise NotApplicable(f"{step} removes {amount} of {units} heads and neurons")
