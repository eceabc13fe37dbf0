"""SparseGPT's loop over the columns: each column's error is taken up by the columns to its right."""

from meltpoint.chain import Pattern, Sparsity
from meltpoint.errors import MeltpointError
from meltpoint.lazy_import import torch
from meltpoint.methods._masks import at_most_threshold, smallest_of_groups
from meltpoint.methods.contract import Tensor

CHUNK = 16


def solve(
    columns: Tensor,
    factor: Tensor,
    gone: Tensor,
    splits: list[int],
    level: Sparsity | Pattern | None,
    blocksize: int,
) -> list[Tensor]:
    """Pruned matrices [rows, C] of linears of one input, views of `columns`.

    `columns` [C, rows of all] are their weights, transposed, and are changed in place. `gone`, bool of
    the same shape, marks weights that are removed already. `factor` [C, C] is `inverse_factor`,
    `splits` are the matrices' numbers of rows. Without a level only the weights in `gone` are removed.
    """
    for start in range(0, len(columns), blocksize):
        block = slice(start, min(start + blocksize, len(columns)))
        error = _prune_block(columns[block], factor[block, block], gone[block], splits, level)
        columns[block.stop :].addmm_(factor[block, block.stop :].T, error, alpha=-1)
    return [weight.T for weight in columns.split(splits, dim=1)]


def inverse_factor(hessian: Tensor, percdamp: float) -> Tensor:
    """Upper triangular U, float32 [C, C]; ``U^T U`` is the inverse of the damped Hessian.

    Channels whose diagonal is 0 get 1 there. Raises MeltpointError if the damped Hessian is not
    positive definite.
    """
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


def _prune_block(
    weight: Tensor,
    factor: Tensor,
    gone: Tensor,
    splits: list[int],
    level: Sparsity | Pattern | None,
) -> Tensor:
    """Prunes a block of columns [b, rows] in place; returns their errors [b, rows].

    Without a level only the weights in `gone` are removed. The columns of a chunk are pruned one by
    one. One matrix product then carries the chunk's errors to the rest of the block. The sums are
    those of a plain loop over columns.
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


def _prune_chunk(
    weight: Tensor, factor: Tensor, removed: Tensor, error: Tensor, pattern: Pattern | None
) -> None:
    """Prunes a chunk of columns [c, rows] in place, one by one, and fills `error` [c, rows].

    With a `pattern` each group's mask is chosen when the loop reaches its first column, and added to
    `removed`.
    """
    diagonal = factor.diagonal()
    for i, pivot in enumerate(diagonal.tolist()):
        if pattern and i % pattern.group == 0:
            group = slice(i, i + pattern.group)
            score = _score(weight[group], diagonal[group, None], removed[group])
            removed[group] |= smallest_of_groups(score.T, pattern).T
        torch.mul(weight[i], removed[i], out=error[i]).div_(pivot)
        weight[i:].addr_(factor[i, i:], error[i], alpha=-1)


def _score(weight: Tensor, diagonal: Tensor, gone: Tensor) -> Tensor:
    """Scores ``(W / U_jj)^2``; weights that are already gone get -1, below every other score."""
    return (weight / diagonal).square_().masked_fill_(gone, -1)


def _below(
    weight: Tensor, diagonal: Tensor, gone: Tensor, splits: list[int], fraction: float
) -> Tensor:
    scores = _score(weight, diagonal, gone).split(splits, dim=1)
    return gone | torch.cat([at_most_threshold(score, fraction) for score in scores], dim=1)
