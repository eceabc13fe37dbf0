"""Masks of the weights to remove, from a metric [rows, columns] in which small means unimportant.

True means removed. The choices among equal entries are those of the official codes (a stable
sort), so that masks can be compared bit by bit.
"""

import math

from meltpoint.chain import Pattern
from meltpoint.lazy_import import torch

SAMPLE = 2**14


def at_most_threshold(metric: "torch.Tensor", fraction: float) -> "torch.Tensor":
    """Mask of the entries at or below the entry of index floor(numel fraction) of the sorted metric.

    These are floor(numel fraction) + 1 entries, and all entries equal to the largest of them.
    """
    return metric <= kth_smallest(metric, int(metric.numel() * fraction) + 1)


def smallest_of_rows(metric: "torch.Tensor", count: int) -> "torch.Tensor":
    """Mask of the `count` smallest entries of each row; of equal entries the leftmost count."""
    if count == 0:
        return torch.zeros_like(metric, dtype=torch.bool)
    threshold = metric.kthvalue(count, dim=1, keepdim=True).values
    smallest = metric <= threshold
    if bool((smallest.sum(dim=1) == count).all()):
        return smallest
    below, equal = metric < threshold, metric == threshold
    missing = count - below.sum(dim=1, keepdim=True)
    return below | (equal & (equal.cumsum(dim=1) <= missing))


def smallest_of_groups(metric: "torch.Tensor", pattern: Pattern) -> "torch.Tensor":
    """Mask of all but the `pattern.kept` largest of `pattern.group` consecutive entries of a row."""
    groups = metric.unflatten(1, (-1, pattern.group))
    smallest = groups.topk(pattern.group - pattern.kept, dim=2, largest=False).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(2, smallest, True).flatten(1)


def kth_smallest(
    values: "torch.Tensor", rank: int, among: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """The entry of a rank, counted from 1, among all entries or those in the mask `among`.

    Two entries of a sorted sample, a little below and above the rank, usually bracket it. Then only the
    entries between them are searched, otherwise all (Floyd and Rivest, "Expected time bounds for
    selection", 1975).
    """
    values = values.flatten()
    among = None if among is None else among.flatten()
    low, high = _bracket(values, rank, among)
    below, between = values < low, values <= high
    if among is not None:
        below &= among
        between &= among
    between ^= below
    left = rank - int(below.count_nonzero())
    candidates = values[between]
    if 0 < left <= len(candidates):
        return candidates.kthvalue(left).values
    return _taken(values, among).kthvalue(rank).values


def _bracket(values, rank: int, among):
    # An odd stride visits different columns of a matrix.
    stride = slice(None, None, len(values) // SAMPLE | 1)
    count = len(values) if among is None else int(among.count_nonzero())
    sample = _taken(values[stride], None if among is None else among[stride]).sort().values
    centre, margin = rank / count * len(sample), 1.5 * math.sqrt(len(sample))
    low, high = math.floor(centre - margin), math.ceil(centre + margin)
    return (
        sample[low] if low >= 0 else -math.inf,
        sample[high] if high < len(sample) else math.inf,
    )


def _taken(values, among):
    return values if among is None else values[among]
