"""FLAP's choice of heads and neurons among those of all blocks."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._reach import nearest_level
from meltpoint.methods._unit_selection import (
    Parts,
    Pool,
    Size,
    check_cut,
    keep_highest,
    per_unit,
    ratios_of_parameters,
)
from meltpoint.methods._units import KINDS, Units
from meltpoint.methods.contract import Tensor

if TYPE_CHECKING:
    from meltpoint.methods.flap import Settings


def select(
    search: dict[str, Any],
    blocks: Sequence[Units],
    level: Sparsity,
    settings: "Settings",
    parameters: tuple[int, int],
) -> list[Parts]:
    """For each block the masks of the units to keep, bool [units] by "attention" and "mlp".

    parameters: numbers of parameters of the dense decoder, and of the decoder before the step. Raises
    NotApplicable for a level that removes nothing, leaves nothing or cannot be reached.
    """
    dense, before = parameters
    biases = sum(block.biases for block in blocks) if settings.bias_compensation else 0
    size = Size(dense, before + sum(block.added for block in blocks) + biases)
    scores, kept = _scores(search, blocks, settings), [{} for _ in blocks]
    everywhere, each = [range(len(blocks))], [[index] for index in range(len(blocks))]
    if settings.structure == "AL-AM":
        pool = Pool(scores, blocks, *everywhere, *KINDS)
        pool.spread(_above_threshold(pool, blocks, level.fraction, size, settings), kept)
    elif settings.structure == "UL-UM":
        ratios = dict.fromkeys(KINDS, level.fraction)
        if settings.of == "parameters":
            ratios = ratios_of_parameters("flap", blocks, size, level.fraction)
        for group, kind in itertools.product(each, KINDS):
            pool = Pool(scores, blocks, group, kind)
            pool.spread(keep_highest(pool.scores, int(ratios[kind] * len(pool.scores))), kept)
    else:
        groups = everywhere if settings.structure == "AL-MM" else each
        heads = settings.remove_heads // len(groups)
        for group in groups:
            share = sum(blocks[i].cost for i in group) / sum(block.cost for block in blocks)
            pools = [Pool(scores, blocks, group, kind) for kind in KINDS]
            cut = [heads // blocks[group[0]].group]
            cut.append(_neurons(pools, cut[0], level.fraction, size.share(share), settings))
            for pool, number in zip(pools, cut, strict=True):
                pool.spread(keep_highest(pool.scores, number), kept)
    left = sum(int(mask.sum()) for masks in kept for mask in masks.values())
    check_cut(f"flap@{level}", sum(block.heads + block.neurons for block in blocks), left)
    return kept


def _scores(search: dict[str, Any], blocks: Sequence[Units], settings: "Settings") -> list[Parts]:
    """Scores of the units of each block, float32 [units] by "attention" and "mlp"."""
    found: list[Parts] = [{} for _ in blocks]
    for index, block in enumerate(blocks):
        for kind in (kind for kind in KINDS if block.count_of(kind)):
            metric = _metric(search, f"{index}.{kind}", settings.metric)
            if kind == "attention" and settings.square_attention:
                metric = metric.square()
            if settings.structure.startswith("AL"):
                # Equal columns have a deviation of 0; the bound makes their standard scores 0.
                spread = metric.std().clamp(min=torch.finfo(metric.dtype).tiny)
                metric = (metric - metric.mean()) / spread
            found[index][kind] = per_unit(metric, block.count_of(kind))
    return found


def _metric(search: dict[str, Any], place: str, name: str) -> Tensor:
    """Metric of the columns of an output, float32 [columns]."""
    fluctuation, norm, squares, means = (
        torch.from_numpy(search[f"{place}.{key}"])
        for key in ("fluctuation", "norm", "weight_square", "weight_mean")
    )
    metrics = {"WIFV": fluctuation * squares, "IFV": fluctuation, "WIFN": means * norm.sqrt()}
    return metrics[name]


def _above_threshold(
    pool: Pool, blocks: Sequence[Units], fraction: float, size: Size, settings: "Settings"
) -> Tensor:
    """Mask of the units to keep: those above the threshold that comes closest to the level."""
    ranked = pool.scores.sort(descending=True)
    costs, strict = pool.costs, settings.strict_threshold
    if settings.truncate_costs and settings.of == "nominal":
        # In units of a neuron: a head of width h in a Llama with as many key heads costs 4 h / 3.
        costs = costs // max(block.neuron_cost for block in blocks)
    left = costs[ranked.indices].cumsum(0)
    if settings.of == "parameters":
        gone = [size.gone(cut) for cut in (left[-1] - left).tolist()]
        last, strict = nearest_level("flap", gone, fraction), False
    else:
        last = int((left - (1 - fraction) * left[-1]).abs().argmin())
    threshold = ranked.values[last]
    return pool.scores > threshold if strict else pool.scores >= threshold


def _neurons(
    pools: Iterable[Pool], heads: int, fraction: float, size: Size, settings: "Settings"
) -> int:
    """Number of neurons to cut, besides `heads` units of attention, to reach the level.

    Raises NotApplicable if no number of neurons reaches it.
    """
    in_heads, in_neurons = (pool.costs[pool.scores.argsort()] for pool in pools)
    cut = int(in_heads[:heads].sum())
    if settings.of == "parameters":
        sums = [0, *in_neurons.cumsum(0).tolist()]
        return nearest_level("flap", [size.gone(cut + neurons) for neurons in sums], fraction)
    wanted = fraction * int(in_heads.sum() + in_neurons.sum())
    number = int((wanted - cut) / int(in_neurons.max())) if len(in_neurons) else 0
    if heads > len(in_heads) or wanted < cut or number > len(in_neurons):
        raise NotApplicable(
            f"flap@{fraction:g} cannot be reached with remove_heads={settings.remove_heads}: that is "
            f"{heads} of {len(in_heads)} units of attention, which hold {cut} parameters of the "
            f"{wanted:.0f} to remove"
        )
    return number
