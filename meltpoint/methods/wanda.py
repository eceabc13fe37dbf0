"""Wanda: weights are removed by their magnitude times the norm of their input.

Metric ``S_ij = |W_ij| sqrt(a_j)`` with ``a_j`` the squared norm of input channel j over the tokens
of a calibration window, averaged over windows (equation 1). For a sparsity s the floor(C s)
smallest of each row of C weights are removed, so the achieved sparsity is floor(C s) / C. For N:M
the N largest of every M consecutive weights of a row are kept. No weight is updated.

With `variant` (appendix) each row loses the smallest weights that together hold a share alpha of
the row's metric; alpha, one for the matrix, is searched for by bisection until the sparsity is
within 0.001. N:M has no variant. With `allocation=owl` the sparsity differs from block to block
(see [allocation](#allocation)).

Sun, Liu, Bair and Kolter, "A Simple and Effective Pruning Approach for Large Language Models",
ICLR 2024.
"""

from pydantic import Field

from meltpoint.chain import Pattern, Sparsity
from meltpoint.methods._masks import smallest_of_groups, smallest_of_rows
from meltpoint.methods._wanda_variant import smallest_share_of_rows
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import AllocatedSettings

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"
statistics = ("norm",)


class Settings(AllocatedSettings):
    """The official code's settings."""

    variant: bool = Field(
        False, description="Whether a share of each row's metric is removed, not of its count."
    )


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity | Pattern, settings: Settings
) -> None:
    """Sets the weights with the smallest metric of each linear of the block to zero, in place."""
    for name, linear in block.linears.items():
        metric = linear.weight.abs().float().mul_(statistics[name].norm.sqrt())
        linear.weight.masked_fill_(_removed(metric, level, settings), 0)


def _removed(metric: Tensor, level: Sparsity | Pattern, settings: Settings) -> Tensor:
    if isinstance(level, Pattern):
        return smallest_of_groups(metric, level)
    if settings.variant:
        return smallest_share_of_rows(metric, level.fraction)
    return smallest_of_rows(metric, int(metric.shape[1] * level.fraction))
