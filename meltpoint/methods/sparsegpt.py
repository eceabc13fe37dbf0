"""SparseGPT: weights are removed by their error under a layer's Hessian, the kept ones updated.

``H = (2/n) sum_k X_k^T X_k`` over the n calibration windows, damped by ``percdamp`` times the mean
of its diagonal; ``U`` is the upper Cholesky factor of its inverse. Columns go in blocks of
``blocksize``. In a block the score ``W_ij^2 / U_jj^2`` of the weights as updated so far gives the
mask: for a sparsity s one threshold for all R rows and b columns (the entry of index floor(R b s),
inclusive); for
N:M the N largest of every M consecutive weights of a row are kept, chosen when the first of them is
reached. Each column's error ``(w_j - q_j) / U_jj`` is then taken up by the columns to its right
(algorithm 1). Zeros that a model already has stay.

With `true_sequential` a block's linears are pruned in the order in which they run (q, k, v; o; gate,
up; down), each on inputs that those before it, pruned, have made: a forward pass more for each.
With `allocation=owl` the sparsity differs from block to block (see [allocation](#allocation)).

Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
ICML 2023.
"""

from pydantic import Field

from meltpoint.chain import Pattern, Sparsity
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._masks import at_most_threshold, smallest_of_groups
from meltpoint.methods.settings import AllocatedSettings

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"
updates_weights = True
statistics = ("hessian",)
CHUNK = 16


class Settings(AllocatedSettings):
    """The official code's settings."""

    percdamp: float = Field(
        0.01, gt=0, description="damping of the Hessian, as a fraction of its mean diagonal"
    )
    blocksize: int = Field(128, ge=1, description="columns that share one mask and one update")
    true_sequential: bool = Field(
        False, description="prune q, k, v first, then o, then gate and up, then down"
    )


def compress_block(block, statistics, level, settings) -> None:
    """Prunes and updates the block's linears in place, those of one input together.

    Raises NotApplicable where a pattern's groups do not fill a block of columns.
    """
    if isinstance(level, Pattern) and settings.blocksize % level.group:
        raise NotApplicable(
            f"{level} needs a blocksize that is a multiple of {level.group}, not "
            f"{settings.blocksize}"
        )
    for names in block.same_input(statistics):
        linears = [block.linears[name] for name in names]
        hessian = statistics[names[0]].hessian
        weights = prune([linear.weight for linear in linears], hessian, level, settings)
        for linear, weight in zip(linears, weights, strict=True):
            linear.weight.copy_(weight)


def prune(weights, hessian, level, settings) -> list:
    """The pruned weights of linears that see the same input.

    `weights` are matrices [rows, C], `hessian` is [C, C]. The matrices' rows go through the column
    loop as one; thresholds are kept per matrix.
    """
    columns = _columns(weights, hessian)
    # Known before the first update: a block's error reaches the zeros of the columns after it.
    gone = columns == 0
    factor = inverse_factor(hessian, settings.percdamp)
    return _solve(columns, factor, gone, [len(w) for w in weights], level, settings.blocksize)


def update(weights, hessian, removed, percdamp: float, blocksize: int = 128) -> list:
    """The weights without those that are `removed`, the others updated to make up for them.

    As `prune`, but for the masks [rows, C], which are given.
    """
    columns = _columns(weights, hessian)
    gone = torch.cat(removed).T | (columns == 0)
    factor = inverse_factor(hessian, percdamp)
    return _solve(columns, factor, gone, [len(w) for w in weights], None, blocksize)


def _columns(weights, hessian):
    """The weights of linears of one input, transposed, so that a column of them is contiguous."""
    columns = torch.cat([w.float() for w in weights]).T.contiguous()
    columns[hessian.diagonal() == 0] = 0
    return columns


def _solve(columns, factor, gone, splits, level, blocksize) -> list:
    for start in range(0, len(columns), blocksize):
        block = slice(start, min(start + blocksize, len(columns)))
        error = _prune_block(columns[block], factor[block, block], gone[block], splits, level)
        columns[block.stop :].addmm_(factor[block, block.stop :].T, error, alpha=-1)
    return [weight.T for weight in columns.split(splits, dim=1)]


def inverse_factor(hessian, percdamp: float):
    """U, upper triangular, with ``U^T U`` the inverse of the damped Hessian ([C, C], float32)."""
    damped = hessian.clone()
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += percdamp * diagonal.mean()
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        return torch.linalg.cholesky(inverse, upper=True)
    except torch.linalg.LinAlgError:
        raise MeltpointError(
            f"a Hessian is not positive definite with percdamp={percdamp:g}: raise percdamp, or "
            "give more calibration windows"
        ) from None


def _prune_block(weight, factor, gone, splits, level):
    """Prunes a block of columns [b, rows] in place; returns their error for the columns after it.

    Without a level only what is `gone` is removed.
    Within the block the columns go in chunks: one by one inside a chunk, and a chunk's error reaches
    the rest of the block in one product. The sums are those of a plain column loop.
    """
    diagonal = factor.diagonal()[:, None]
    pattern = isinstance(level, Pattern)
    chosen = isinstance(level, Sparsity)
    removed = _below(weight, diagonal, gone, splits, level.fraction) if chosen else gone
    size = CHUNK * level.group if pattern else CHUNK
    error = torch.empty_like(weight)
    for start in range(0, len(weight), size):
        chunk = slice(start, min(start + size, len(weight)))
        step = level if pattern else None
        _prune_chunk(weight[chunk], factor[chunk, chunk], removed[chunk], error[chunk], step)
        weight[chunk.stop :].addmm_(factor[chunk, chunk.stop :].T, error[chunk], alpha=-1)
    weight.masked_fill_(removed, 0)
    return error


def _prune_chunk(weight, factor, removed, error, pattern) -> None:
    """The column loop; with a `pattern` each group's mask is chosen when the loop comes to it."""
    diagonal = factor.diagonal()
    for i, pivot in enumerate(diagonal.tolist()):
        if pattern and i % pattern.group == 0:
            group = slice(i, i + pattern.group)
            score = _score(weight[group], diagonal[group, None], removed[group])
            removed[group] |= smallest_of_groups(score.T, pattern).T
        torch.mul(weight[i], removed[i], out=error[i]).div_(pivot)
        weight[i:].addr_(factor[i, i:], error[i], alpha=-1)


def _score(weight, diagonal, gone):
    """The metric, with what is already gone below everything else."""
    return (weight / diagonal).square_().masked_fill_(gone, -1)


def _below(weight, diagonal, gone, splits, fraction):
    scores = _score(weight, diagonal, gone).split(splits, dim=1)
    return gone | torch.cat([at_most_threshold(score, fraction) for score in scores], dim=1)
