"""SparseGPT: weights are removed by their error under a layer's Hessian, the kept ones updated.

``H = (2/n) sum_k X_k^T X_k`` over the n calibration windows, damped by ``percdamp`` times the mean
of its diagonal; ``U`` is the upper Cholesky factor of its inverse. Columns go in blocks of
``blocksize``. In a block the score ``W_ij^2 / U_jj^2`` of the weights as updated so far gives the
mask: for a sparsity s one threshold for all R rows and b columns (the entry of index floor(R b s),
inclusive); for
N:M the N largest of every M consecutive weights of a row are kept, chosen when the first of them is
reached. Each column's error ``(w_j - q_j) / U_jj`` is then taken up by the columns to its right
(algorithm 1). Zeros that a model already has stay.

With `true_sequential` a block's linears are pruned in the order in which they run (q, k, v; o;
gate, up; down), each on the inputs that the pruned linears before it produce. This takes one more
forward pass for each. With `allocation=owl` the sparsity differs from block to block (see
[allocation](#allocation)).

Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
ICML 2023.
"""

from pydantic import Field

from meltpoint.chain import Pattern, Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._sparsegpt_columns import inverse_factor, solve
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import AllocatedSettings

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"
updates_weights = True
statistics = ("hessian",)


class Settings(AllocatedSettings):
    """The official code's settings."""

    percdamp: float = Field(
        0.01, gt=0, description="Damping of the Hessian, as a fraction of its mean diagonal."
    )
    blocksize: int = Field(
        128, ge=1, description="Number of columns that share one mask and one update."
    )
    true_sequential: bool = Field(
        False, description="Whether q, k, v are pruned first, then o, then gate and up, then down."
    )


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity | Pattern, settings: Settings
) -> None:
    """Prunes and updates the block's linears in place; linears of one input share a factor.

    Raises NotApplicable if `blocksize` is no multiple of a pattern's group.
    """
    if isinstance(level, Pattern) and settings.blocksize % level.group:
        raise NotApplicable(
            f"{level} needs a blocksize that is a multiple of {level.group}, not "
            f"{settings.blocksize}"
        )
    for names in block.same_input(statistics):
        linears = [block.linears[name] for name in names]
        hessian = statistics[names[0]].hessian
        factor = inverse_factor(hessian, settings.percdamp)
        block.note_smallest("pivot", smallest_pivot(hessian, factor))
        weights = prune([linear.weight for linear in linears], hessian, level, settings, factor)
        for linear, weight in zip(linears, weights, strict=True):
            linear.weight.copy_(weight)


def prune(
    weights: list[Tensor],
    hessian: Tensor,
    level: Sparsity | Pattern,
    settings: Settings,
    factor: "Tensor | None" = None,
) -> list[Tensor]:
    """The pruned weights, float32 [rows, C] each, of linears that see the same input.

    `weights` are matrices [rows, C] and `hessian` is [C, C]; neither is changed. `factor` [C, C] is the
    Hessian's `inverse_factor`, computed here if it is None. The rows of all matrices go through the
    column loop together, but each matrix has thresholds of its own. Raises MeltpointError for a Hessian
    that is not positive definite.
    """
    columns = _columns(weights, hessian)
    # Taken before the first update, which moves the zeros of later columns away from 0.
    gone = columns == 0
    factor = inverse_factor(hessian, settings.percdamp) if factor is None else factor
    return solve(columns, factor, gone, [len(w) for w in weights], level, settings.blocksize)


def smallest_pivot(hessian: Tensor, factor: Tensor) -> float:
    """The smallest pivot of the damped Hessian, as a fraction of the mean of the Hessian's diagonal.

    The pivot ``1 / U_jj^2`` is the part of channel j that the channels after it do not explain. If the
    smallest one is near `percdamp`, only the damping keeps the Hessian regular, and rounding decides
    between weights of nearly equal error.
    """
    return (factor.diagonal().max().square().reciprocal() / hessian.diagonal().mean()).item()


def update(
    weights: list[Tensor],
    hessian: Tensor,
    removed: list[Tensor],
    percdamp: float,
    blocksize: int = 128,
) -> list[Tensor]:
    """The weights, float32 [rows, C] each, after removing those in given masks and updating the rest.

    `removed` are the masks of the weights to remove, bool [rows, C], one for each matrix. Otherwise
    this is `prune`.
    """
    columns = _columns(weights, hessian)
    gone = torch.cat(removed).T | (columns == 0)
    factor = inverse_factor(hessian, percdamp)
    return solve(columns, factor, gone, [len(w) for w in weights], None, blocksize)


def _columns(weights: list[Tensor], hessian: Tensor) -> Tensor:
    """Weights of linears of one input, float32 [C, rows of all]. Each input channel is contiguous.

    Weights of channels that no token activates become 0.
    """
    columns = torch.cat([w.float() for w in weights]).T.contiguous()
    columns[hessian.diagonal() == 0] = 0
    return columns
