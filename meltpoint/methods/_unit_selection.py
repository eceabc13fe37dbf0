"""Selection of the units that a structured method cuts, by their scores and a level."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._reach import nearest_level
from meltpoint.methods._units import KINDS, Units
from meltpoint.methods.contract import Tensor

# Tensors of one block, by "attention" and "mlp".
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Size:
    """Parameters of the dense decoder, and of the decoder at hand with all units that may be cut.

    Both may be numbers of a part of the decoder.
    """

    dense: float
    uncut: float

    def gone(self, cut: float) -> float:
        """Fraction of the dense parameters that is gone once `cut` parameters are cut."""
        return 1 - (self.uncut - cut) / self.dense

    def share(self, fraction: float) -> "Size":
        """Size of a part of the model, the fraction `fraction` of it."""
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
        """Writes a mask of the pool's units, bool [units], into the masks of the blocks in `kept`."""
        for (index, part), values in zip(self.entries, mask.split(self.lengths), strict=True):
            kept[index][part] = values


def per_unit(columns: Tensor, units: int) -> Tensor:
    """Mean score of each unit's columns, [units], from scores [columns]."""
    return columns.reshape(units, -1).mean(dim=1)


def keep_highest(scores: Tensor, cut: int) -> Tensor:
    """Mask of the units to keep once the `cut` lowest are cut, bool [units].

    All units that tie with the lowest unit to keep are kept.
    """
    return scores >= (scores.sort().values[cut] if cut < len(scores) else math.inf)


def ratios_of_parameters(
    method: str, blocks: Sequence[Units], size: Size, wanted: float
) -> dict[str, float]:
    """Ratios of units to cut in each block, by "attention" and "mlp", that come nearest to a level.

    size: parameters with all units. wanted: fraction of its dense parameters. The heads get the ratio
    that is best for both kinds; the neurons' ratio then makes up for the rest. Raises NotApplicable for
    a level beyond all ratios.
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
    # The factor makes sure that a ratio of k / n cuts k units in spite of rounding.
    return sorted({k / n * (1 + 1e-12) for n in totals for k in range(n)} | {0.0})


def _cut_by(blocks: Sequence[Units], kinds: Sequence[str], ratios: list[float]) -> list[float]:
    """Number of parameters that each ratio cuts, over all units of these kinds."""
    grid = torch.tensor(ratios, dtype=torch.float64)
    cut = torch.zeros_like(grid)
    for block in blocks:
        for kind in kinds:
            cut += (grid * block.count_of(kind)).floor() * block.cost_of(kind)
    return cut.tolist()


def check_cut(step: str, units: int, left: int) -> None:
    """Raises NotApplicable if no unit is cut or none is left; `units` and `left` are numbers."""
    if left in (0, units):
        amount = "none" if left else "all"
        raise NotApplicable(f"{step} removes {amount} of {units} heads and neurons")
