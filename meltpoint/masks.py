"""Masks of the weights to remove, from a metric [rows, columns] in which small means unimportant.

True means removed. The choices among equal entries are those of the official codes (a stable
sort), so that masks can be compared bit by bit.
"""

from meltpoint.chain import Pattern
from meltpoint.lazy import torch


def at_most_threshold(metric, fraction: float):
    """Entries at or below that of index floor(numel fraction) of the sorted metric.

    One more than floor(numel fraction) entries, and all that equal the last of them.
    """
    index = int(metric.numel() * fraction)
    return metric <= metric.flatten().kthvalue(index + 1).values


def smallest_of_rows(metric, count: int):
    """The `count` smallest entries of each row; of equal ones, the leftmost."""
    if count == 0:
        return torch.zeros_like(metric, dtype=torch.bool)
    threshold = metric.kthvalue(count, dim=1, keepdim=True).values
    below, equal = metric < threshold, metric == threshold
    missing = count - below.sum(dim=1, keepdim=True)
    if not torch.equal(equal.sum(dim=1, keepdim=True), missing):
        equal &= equal.cumsum(dim=1) <= missing
    return below | equal


def smallest_of_groups(metric, pattern: Pattern):
    """All but the `pattern.kept` largest of every `pattern.group` consecutive entries of a row."""
    groups = metric.unflatten(1, (-1, pattern.group))
    smallest = groups.topk(pattern.group - pattern.kept, dim=2, largest=False).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(2, smallest, True).flatten(1)
