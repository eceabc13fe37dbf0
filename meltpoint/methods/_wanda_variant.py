"""Wanda's variant: the share of a row's metric to remove, by the official code's bisection."""

from meltpoint.errors import NotApplicable
from meltpoint.methods.contract import Tensor

# The official search: largest share, and tolerance of the sparsity and of the share.
HIGHEST_SHARE, NEAR = 0.8, 1e-3
REACHED = 0.01


def smallest_share_of_rows(metric: Tensor, fraction: float) -> Tensor:
    """Mask of each row's smallest entries that hold at most a share of its sum, bool [rows, columns].

    One share for all rows is found by bisection such that the mask removes the fraction. metric:
    [rows, columns]. Raises NotApplicable if no share up to `HIGHEST_SHARE` gives the fraction.
    """
    ascending = metric.sort(dim=1).values
    mass = ascending.cumsum(dim=1)
    low, share, high = 0.0, HIGHEST_SHARE / 2, HIGHEST_SHARE
    while True:
        removed = _below_share(metric, ascending, mass, share)
        sparsity = removed.float().mean().item()
        if abs(sparsity - fraction) <= NEAR or high - low < NEAR:
            break
        low, high = (low, share) if sparsity > fraction else (share, high)
        share = (low + high) / 2
    if abs(sparsity - fraction) > REACHED:
        raise NotApplicable(
            f"wanda's variant removes at most {HIGHEST_SHARE} of a row's metric, which gives a "
            f"sparsity of {sparsity:.3f} here, not {fraction:g}"
        )
    return removed


def _below_share(metric: Tensor, ascending: Tensor, mass: Tensor, share: float) -> Tensor:
    count = (mass <= share * metric.sum(dim=1, keepdim=True)).sum(dim=1, keepdim=True)
    threshold = ascending.gather(1, (count - 1).clamp(min=0))
    return (metric <= threshold) & (count > 0)
