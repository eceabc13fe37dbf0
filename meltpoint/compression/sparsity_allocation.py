"""How a model's sparsity is shared out among its decoder blocks.

`owl` (Yin et al., "Outlier Weighed Layerwise Sparsity (OWL)", ICML 2024): on a pass through the
dense model, ``D_b`` is the fraction of a block's weights whose metric ``|W_ij| sqrt(a_j)`` is more
than `outlier_ratio` times the mean over the block. Sparsity falls linearly with ``D_b``, over a
range of ``2 lambda_`` whose mean is the requested sparsity.

The official code misses that mean where a sparsity comes out at zero or below (it takes 0.01),
fails where one reaches 1, and divides zero by zero where all ``D_b`` are equal. Here the rest of
the blocks take up what a bound cuts off, and equal blocks get equal sparsities.
"""

from typing import TYPE_CHECKING

import torch

from meltpoint.chain import Level, Sparsity
from meltpoint.methods.settings import MethodSettings
from meltpoint.model import empty_model
from meltpoint.progress import track

if TYPE_CHECKING:
    from meltpoint.model.block_walk import Walk

BOUNDS = (0.01, 0.99)


def allocate(walk: "Walk", level: Level | None, settings: MethodSettings) -> list[Level | None]:
    """The level of each block, in order. All are equal unless `settings` ask for an allocation."""
    if getattr(settings, "allocation", "uniform") == "uniform" or not isinstance(level, Sparsity):
        return [level] * len(walk.blocks)
    outliers, sizes = measure_outliers(walk, settings.outlier_ratio)
    return [Sparsity(s) for s in share_out(outliers, sizes, level.fraction, settings.lambda_)]


def measure_outliers(walk: "Walk", ratio: float) -> tuple[list[float], list[int]]:
    """Percentage of outliers among the weights of each block, and the number of its weights."""
    walk.embed()
    outliers, sizes = [], []
    for index in track(range(len(walk.blocks)), "owl: blocks"):
        tensors = walk.reader.read(walk.names(index))
        empty_model.fill(walk.model, tensors)
        statistics = walk.collect(index, ("norm",), advance=True)
        metrics = [
            linear.weight.abs().float().mul_(statistics[name].norm.sqrt())
            for name, linear in empty_model.linears(walk.blocks[index]).items()
        ]
        size = sum(metric.numel() for metric in metrics)
        threshold = ratio * sum(metric.sum(dim=1).double().sum() for metric in metrics) / size
        above = sum(int(torch.count_nonzero(metric > threshold)) for metric in metrics)
        outliers.append(100 * above / size)
        del metrics
        sizes.append(size)
        empty_model.empty(walk.model, tensors)
    walk.hidden = None
    return outliers, sizes


def share_out(
    outliers: list[float], sizes: list[int], fraction: float, lambda_: float
) -> list[float]:
    """The sparsity of each block; their mean, weighted by `sizes`, is `fraction`."""
    least, span = min(outliers), max(outliers) - min(outliers)
    # In the official code's order of operations: the number of weights to remove is rounded down, so
    # another rounding here could change it.
    kept = [(d - least) * (1 / span * lambda_ * 2) if span else 0.0 for d in outliers]
    mean = sum(kept) / len(kept)
    wanted = [1 - (k - mean + (1 - fraction)) for k in kept]
    return _shift_to_mean(wanted, sizes, fraction)


def _shift_to_mean(values: list[float], sizes: list[int], mean: float) -> list[float]:
    """The values, moved together and kept within bounds, so that their weighted mean is `mean`."""
    low, high = min(BOUNDS[0], mean), max(BOUNDS[1], mean)

    def bounded(shift: float) -> list[float]:
        return [min(max(value + shift, low), high) for value in values]

    def excess(shift: float) -> float:
        weighted = (v * n for v, n in zip(bounded(shift), sizes, strict=True))
        return sum(weighted) / sum(sizes) - mean

    if abs(excess(0)) < 1e-9:
        return bounded(0)
    below, above = -1.0, 1.0
    for _ in range(60):
        middle = (below + above) / 2
        below, above = (middle, above) if excess(middle) < 0 else (below, middle)
    return bounded((below + above) / 2)
