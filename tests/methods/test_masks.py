"""Masks against the plain spelling of what the official codes do."""

import pytest
import torch

from meltpoint.chain import Pattern
from meltpoint.methods._masks import at_most_threshold, smallest_of_groups, smallest_of_rows


def stable_rows(metric, count):
    mask = torch.zeros_like(metric, dtype=torch.bool)
    order = metric.sort(dim=1, stable=True).indices[:, :count]
    return mask.scatter_(1, order, True)


@pytest.mark.parametrize("count", [0, 1, 7, 31, 32])
@pytest.mark.parametrize("ties", [False, True])
def test_rows_are_a_stable_sort(count, ties):
    metric = torch.randn(20, 32).abs()
    if ties:
        metric = (metric * 3).round()
    assert torch.equal(smallest_of_rows(metric, count), stable_rows(metric, count))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.77])
def test_the_threshold_is_inclusive(fraction):
    metric = torch.randn(13, 17).abs()
    threshold = metric.flatten().sort().values[int(metric.numel() * fraction)]
    assert torch.equal(at_most_threshold(metric, fraction), metric <= threshold)
    assert at_most_threshold(metric, fraction).sum() == int(metric.numel() * fraction) + 1


@pytest.mark.parametrize("pattern", [Pattern(2, 4), Pattern(4, 8), Pattern(3, 4), Pattern(1, 16)])
def test_groups_keep_their_largest(pattern):
    metric = torch.randn(5, 32).abs()
    kept = ~smallest_of_groups(metric, pattern)
    for row in range(5):
        for start in range(0, 32, pattern.group):
            group = slice(start, start + pattern.group)
            best = metric[row, group].topk(pattern.kept).values.min()
            assert torch.equal(kept[row, group], metric[row, group] >= best)
