"""ADMM's masks for weights that are transposed to [C, rows]; True marks a weight to keep."""

import math
from itertools import combinations
from typing import TYPE_CHECKING

from meltpoint.chain import Pattern, Sparsity
from meltpoint.lazy_import import torch
from meltpoint.methods._masks import kth_smallest, smallest_of_rows
from meltpoint.methods.contract import Tensor

if TYPE_CHECKING:
    from meltpoint.methods import admm


def choose(
    metric: Tensor,
    gone: "Tensor | None",
    level: Sparsity | Pattern,
    settings: "admm.Settings",
    iteration: int,
) -> Tensor:
    """Mask of the weights to keep, bool [C, rows]; weights that are gone already are never kept.

    metric: [C, rows], changed in place. gone: bool [C, rows], or None. iteration: from 0; the schedule
    removes more weights with each.
    """
    if gone is None:
        return _largest(metric, level, settings, iteration)
    return _largest(metric.masked_fill_(gone, 0), level, settings, iteration).masked_fill_(gone, 0)


def _largest(
    metric: Tensor, level: Sparsity | Pattern, settings: "admm.Settings", iteration: int
) -> Tensor:
    share = 1 - (1 - (iteration + 1) / settings.prune_iterations) ** 3
    if isinstance(level, Pattern):
        protected = largest_of_groups(metric, level)
        return protected | (metric > threshold(metric, share, ~protected))
    if settings.group == "row":
        return ~smallest_of_rows(metric.T, int(len(metric) * level.fraction * share)).T
    constant = settings.schedule == "constant"
    return metric > threshold(metric, level.fraction * (1 if constant else share))


def largest_of_groups(metric: Tensor, pattern: Pattern) -> Tensor:
    """Mask [C, rows]: the `pattern.kept` largest of `pattern.group` consecutive entries of a column.

    Each entry's losses against the others are counted, which is many times faster than sorting so few.
    """
    groups = metric.unflatten(0, (-1, pattern.group))
    losses = torch.zeros(groups.shape, dtype=torch.int16, device=metric.device)
    for first, second in combinations(range(pattern.group), 2):
        wins = groups[:, first] >= groups[:, second]
        losses[:, second] += wins
        losses[:, first] += ~wins
    return (losses < pattern.kept).flatten(0, 1)


def threshold(values: Tensor, fraction: float, among: "Tensor | None" = None) -> "Tensor | float":
    """The floor(n fraction)-th smallest of n entries, or of the entries in the mask `among`.

    It is -inf if that number is 0.
    """
    count = values.numel() if among is None else int(among.count_nonzero())
    rank = int(count * fraction)
    return kth_smallest(values, rank, among) if rank else -math.inf
