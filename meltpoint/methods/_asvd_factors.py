"""ASVD's ranks, factors of a scaled weight, and ratios: the share of numbers that a linear keeps."""

import math
from collections.abc import Callable
from typing import Any

from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._factors import decompose, split
from meltpoint.methods._reach import nearest_level
from meltpoint.methods.contract import Tensor

# Seed of the official scripts.
SEED = 233


def aligned_rank(rows: int, columns: int, ratio: float, align: int) -> int:
    """Rank of the factors for a ratio of a matrix's numbers, rounded up to a multiple of `align`."""
    rank = int(rows * columns * ratio) // (rows + columns)
    return min(math.ceil(rank / align) * align, rows, columns)


def scaled_factors(
    weight: Tensor, scale: Tensor, decomposition: str
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Function from a rank to two factors, [rank, columns] and [rows, rank], of a weight.

    weight: [rows, columns]. scale: [columns]. The scaled weight is decomposed, and the first factor is
    divided by the scale.
    """
    scaled = weight * scale
    whole = decompose(scaled) if decomposition == "exact" else None

    def factors(rank: int) -> tuple[Tensor, Tensor]:
        first, second = split(*(whole or _randomised(scaled, rank)), rank)
        return first / scale, second

    return factors


def _randomised(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    devices = [matrix.device] if matrix.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(SEED)
        u, s, v = torch.svd_lowrank(matrix, q=rank)
    return u, s, v.T


def choose_ratios(
    found: dict[str, Any], wanted: float, align: int, parameters: tuple[int, int] | None
) -> dict[str, float]:
    """Ratio of each linear that is truncated, by "block.name".

    Candidates (linear, ratio) are taken from the least harmful on until the level is reached; each
    linear gets the smallest of its ratios. `wanted` is the fraction to remove of the linears' numbers,
    or with `parameters` (of the dense decoder, of the decoder before the step) of these. Raises
    NotApplicable for a level beyond what all candidates together remove.
    """
    candidates = _by_harm(found)
    gone = _fractions_gone(found, candidates, align, parameters)
    if parameters is not None:
        used = nearest_level("asvd", gone, wanted)
    else:
        used = next((count for count, fraction in enumerate(gone) if fraction >= wanted), None)
    if used is None:
        raise NotApplicable(
            f"asvd cannot remove {wanted:g} of the linears' numbers: with lowest_ratio="
            f"{found['ratios'][0]:g} the most is {gone[-1]:.3f}"
        )
    ratios: dict[str, float] = {}
    for linear, ratio in candidates[:used]:
        ratios[linear] = min(ratio, ratios.get(linear, 1.0))
    return ratios


def _by_harm(found: dict[str, Any]) -> list[tuple[str, float]]:
    """The candidates, pairs of linear and ratio, the least harmful first."""
    rows = [
        (perplexity, linear, ratio)
        for linear, row in zip(found["linears"], found["perplexities"].tolist(), strict=True)
        for ratio, perplexity in zip(found["ratios"], row, strict=True)
        if not math.isnan(perplexity)
    ]
    # In the order of the official code: descending, and stable for equal values.
    rows.sort(key=lambda row: -row[0])
    return [(linear, ratio) for _, linear, ratio in reversed(rows)]


def _fractions_gone(
    found: dict[str, Any],
    candidates: list[tuple[str, float]],
    align: int,
    parameters: tuple[int, int] | None,
) -> list[float]:
    """Fraction of the parameters that the first k candidates remove, for k = 0, 1, 2, ..."""
    sizes = dict(zip(found["linears"], found["sizes"], strict=True))
    dense, total = parameters or (1, 1)
    every = sum(rows * columns for rows, columns, _ in sizes.values())
    gone, left, fractions = 0.0, {}, [1 - total / dense]
    for linear, ratio in candidates:
        rows, columns, held = sizes[linear]
        if parameters is None:
            before, after = left.get(linear, rows * columns), rows * columns * ratio
        else:
            before = left.get(linear, held)
            after = aligned_rank(rows, columns, ratio, align) * (rows + columns)
        if ratio < left.get(f"{linear}:ratio", 1.0):
            gone += before - after
            left |= {linear: after, f"{linear}:ratio": ratio}
        fractions.append(gone / every if parameters is None else 1 - (total - gone) / dense)
    return fractions
