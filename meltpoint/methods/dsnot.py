"""DSnoT: a first mask is improved by exchanging removed weights for kept ones; no weight changes.

The first mask removes the floor(C s) smallest of each row of C weights, for N:M all but the N
largest of every M, by the metric of `init`: Wanda's, magnitude, or SparseGPT's ``W_ij^2 / U_jj^2``.
The removed weights of a row contribute ``e_i = sum_j W_ij m_j`` to its output, with ``m_j`` the sum
of input channel j over the tokens of a calibration window, averaged over windows. While ``|e_i|``
exceeds `threshold`, and at most `cycles` times, one weight is grown and another removed. The weight
to grow is a removed one whose ``W_ij m_j`` has the sign of e_i, the largest
``|W_ij m_j| / v_j^power`` first (``v_j``: the channel's variance within a window). The weight to
remove is a kept one of the other sign, the least Wanda metric first. (Where these end, the official
list goes on with those of the same sign, the largest metric first.) For N:M the weight to remove is
the kept one of the least metric in the grown one's group. With `skip=mlp` the MLP keeps its first
mask. Kept weights stay dense under every `init`. The official 50 cycles are for rows of 4096
weights and more: in rows of a few hundred they exchange weights that matter (take about 4).

The published code's pointers run on where a list has ended and in rows that are done. This breaks
N:M and the sparsity of narrow layers (0.515 for 0.5 at C = 128; from C = 4096 on it hardly
matters). Here a row is done when one of its lists has ended; `overrun` gives the published masks.
The published code also never fills the Hessian of `init=sparsegpt`, so that each row loses its
first floor(C s) weights: the published s.DSnoT numbers, such as 6.8997 for LLaMA-2-7B at 0.5, need
it filled, as it is here.

Zhang et al., "Dynamic Sparse No Training: Training-Free Fine-tuning for Sparse LLMs", ICLR 2024.
"""

from typing import Literal

from pydantic import Field

from meltpoint.chain import Level, Pattern, Sparsity
from meltpoint.lazy_import import torch
from meltpoint.methods import _dsnot_exchange, _dsnot_overrun
from meltpoint.methods._masks import smallest_of_groups, smallest_of_rows
from meltpoint.methods._sparsegpt_columns import inverse_factor
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import CalibratedSettings

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"
INFINITY = float("inf")


class Settings(CalibratedSettings):
    """The official code's settings."""

    init: Literal["wanda", "sparsegpt", "magnitude"] = Field(
        "wanda", description="Metric of the first mask."
    )
    cycles: int = Field(50, ge=1, description="Largest number of exchanges in a row.")
    threshold: float = Field(0.1, ge=0, description="Error below which a row is left as it is.")
    power: float = Field(1, ge=0, description="Power of the variance in the order of growing.")
    skip: Literal["mlp", "attn", "none"] = Field(
        "mlp",
        description="Linears that keep the first mask: `attn` are those with a module named "
        "attention or attn (self_attn, say) in their path, `mlp` all others.",
    )
    same_sign: bool = Field(
        False,
        description="Whether a row is done before its error would change sign. It always is for N:M.",
    )
    percdamp: float = Field(
        0.01, gt=0, description="With init=sparsegpt: damping, as a fraction of the mean diagonal."
    )
    overrun: bool = Field(
        False, description="Whether the lists' pointers run on, as in the published code."
    )

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: without `init=sparsegpt` also `percdamp`."""
        return super().unused_settings() | (set() if self.init == "sparsegpt" else {"percdamp"})


def statistics(settings: Settings) -> tuple[str, ...]:
    """Names of the moments, and with `init=sparsegpt` of the Hessian."""
    hessian = ("hessian",) if settings.init == "sparsegpt" else ()
    return ("norm", "sum", "variance", *hessian)


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity | Pattern, settings: Settings
) -> None:
    """Zeroes the removed weights of each of the block's linears, in place.

    Raises NotApplicable if, with `overrun`, a pointer leaves a row.
    """
    for names in block.same_input(statistics):
        moments = statistics[names[0]]
        scale = _scale(moments, settings)
        skipped = [name for name in names if _is_skipped(name, settings.skip)]
        for name in skipped:
            weight = block.linears[name].weight
            weight.masked_fill_(_first_mask(_metric(weight, scale, settings.init), level), 0)
        weights = [block.linears[name].weight for name in names if name not in skipped]
        if weights:
            removed = _reselected(weights, moments, scale, level, settings)
            for weight, mask in zip(weights, removed.split([len(w) for w in weights]), strict=True):
                weight.masked_fill_(mask, 0)


def _is_skipped(name: str, skip: str) -> bool:
    attention = any("attn" in part or "attention" in part for part in name.lower().split("."))
    return skip == ("attn" if attention else "mlp")


def _scale(moments: Statistics, settings: Settings) -> "Tensor | int":
    """Factor of a weight's magnitude in the metric of the first mask: [C], or 1."""
    if settings.init == "magnitude":
        return 1
    if settings.init == "wanda":
        return moments.norm.sqrt()
    hessian = moments.hessian
    pivots = inverse_factor(hessian, settings.percdamp).diagonal()
    return pivots.masked_fill(hessian.diagonal() == 0, INFINITY).reciprocal()


def _metric(weight: Tensor, scale: "Tensor | int", init: str) -> Tensor:
    metric = weight.abs().float() * scale
    if init == "sparsegpt":
        metric.square_()
    # Zeros go first, even before weights on dead inputs, whose metric is 0 too.
    return metric.masked_fill_(weight == 0, -1)


def _first_mask(metric: Tensor, level: Level) -> Tensor:
    if isinstance(level, Pattern):
        return smallest_of_groups(metric, level)
    return smallest_of_rows(metric, int(metric.shape[1] * level.fraction))


def _reselected(
    weights: list[Tensor],
    moments: Statistics,
    scale: "Tensor | int",
    level: Level,
    settings: Settings,
) -> Tensor:
    """Mask of the weights to remove, bool [rows of all, C], of matrices with the same input."""
    metric = torch.cat([_metric(weight, scale, settings.init) for weight in weights])
    wanda = metric
    if settings.init != "wanda" and isinstance(level, Sparsity):
        wanda = torch.cat([_metric(weight, moments.norm.sqrt(), "wanda") for weight in weights])
    contribution = torch.cat([weight.float() * moments.sum for weight in weights])
    spread = moments.variance.pow(settings.power)
    removed = _first_mask(metric, level)
    rows = _dsnot_exchange.Rows(removed, contribution, metric, wanda, spread)
    exchange = _dsnot_overrun if settings.overrun else _dsnot_exchange
    exchange.reselect(rows, level, settings)
    return removed
