"""LLM-Pruner's choice of heads and neurons among those of the layers that are pruned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meltpoint.lazy_import import torch
from meltpoint.methods._reach import nearest_level
from meltpoint.methods._unit_selection import Parts, Pool, Size, ratios_of_parameters
from meltpoint.methods._units import KINDS, Units
from meltpoint.methods.contract import Tensor

if TYPE_CHECKING:
    from meltpoint.methods.llm_pruner import Settings


def select(
    scores: Sequence[Parts],
    blocks: Sequence[Units],
    initial: Sequence[Units],
    fraction: float,
    size: Size,
    settings: "Settings",
) -> list[Parts]:
    """For each block the masks of the units to keep, bool [units] by "attention" and "mlp".

    scores: of the units of layers that are pruned; empty for other layers. initial: units before the
    first of several steps. Each part keeps at least one unit.
    """
    indices = [index for index, parts in enumerate(scores) if parts]
    kept: list[Parts] = [{} for _ in blocks]
    if settings.scope == "global":
        pool = Pool(scores, blocks, indices, *KINDS)
        pool.spread(_above_threshold(pool, initial, fraction, size, settings), kept)
    else:
        ratios = None
        if settings.of == "parameters":
            chosen = [blocks[index] for index in indices]
            ratios = ratios_of_parameters("llm_pruner", chosen, size, fraction)
        for index in indices:
            for kind, values in scores[index].items():
                cut = _count(blocks[index], initial[index], kind, fraction)
                if ratios is not None:
                    cut = int(ratios[kind] * len(values))
                kept[index][kind] = _without_lowest(values, cut)
    for index in indices:
        for kind, mask in kept[index].items():
            mask[scores[index][kind].argmax()] = True
    return kept


def _count(units: Units, initial: Units, kind: str, fraction: float) -> int:
    """Number of a block's units to cut: the whole units in the number of channels to cut."""
    width = units.head_width if kind == "attention" else 1
    left = int(initial.count_of(kind) * width * (1 - fraction))
    return max(units.count_of(kind) * width - left, 0) // width


def _without_lowest(scores: Tensor, cut: int) -> Tensor:
    mask = torch.ones(len(scores), dtype=torch.bool)
    mask[scores.argsort(stable=True)[:cut]] = False
    return mask


def _above_threshold(
    pool: Pool, initial: Sequence[Units], fraction: float, size: Size, settings: "Settings"
) -> Tensor:
    """Mask of the units above a common threshold, in which a head counts as much as a neuron."""
    ranked = pool.scores.sort()
    if settings.of == "parameters":
        sums = [0, *pool.costs[ranked.indices].cumsum(0).tolist()]
        cut = nearest_level("llm_pruner", [size.gone(number) for number in sums], fraction)
    else:
        before = sum(initial[index].count_of(kind) for index, kind in pool.entries)
        cut = len(pool.scores) - int(before * (1 - fraction))
    if cut <= 0:
        return torch.ones(len(pool.scores), dtype=torch.bool)
    return pool.scores > ranked.values[cut - 1]
