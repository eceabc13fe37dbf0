"""Wanda: weights are removed by their magnitude times the norm of their input.

Metric ``S_ij = |W_ij| sqrt(a_j)`` with ``a_j`` the squared norm of input channel j over the tokens
of a calibration window, averaged over windows (equation 1). For a sparsity s the floor(C s)
smallest of each row of C weights are removed, so the achieved sparsity is floor(C s) / C. For N:M
the N largest of every M consecutive weights of a row are kept. No weight is updated.

Sun, Liu, Bair and Kolter, "A Simple and Effective Pruning Approach for Large Language Models",
ICLR 2024.
"""

from meltpoint.chain import Pattern, Sparsity
from meltpoint.masks import smallest_of_groups, smallest_of_rows
from meltpoint.methods.settings import CalibratedSettings

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"
sources = ("masks",)
statistics = ("norm",)


class Settings(CalibratedSettings):
    """The calibration alone."""


def compress_block(block, statistics, level, settings) -> None:
    """Zeroes the weights of smallest metric of each of the block's linears, in place."""
    for name, linear in block.linears.items():
        metric = linear.weight.abs() * statistics[name].norm.sqrt()
        if isinstance(level, Pattern):
            removed = smallest_of_groups(metric, level)
        else:
            removed = smallest_of_rows(metric, int(metric.shape[1] * level.fraction))
        linear.weight.masked_fill_(removed, 0)
