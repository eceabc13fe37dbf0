"""Bases of the residual stream: principal components, and random rotations of them."""

from collections.abc import Iterable

import torch

# Share of the covariance's mean diagonal that is added to its diagonal.
DAMPING = 0.01


def covariance(batches: Iterable[torch.Tensor], centred: bool) -> torch.Tensor:
    """Sum of x x^T over tokens x, float64 [width, width], of batches [windows, tokens, width].

    With `centred` each x first loses its mean over the width.
    """
    total = None
    for batch in batches:
        tokens = batch.flatten(0, -2).double()
        if centred:
            tokens -= tokens.mean(dim=1, keepdim=True)
        total = tokens.T @ tokens if total is None else total.addmm_(tokens.T, tokens)
    return total


def principal_components(total: torch.Tensor, kept: int) -> torch.Tensor:
    """Eigenvectors [width, kept] of a covariance's largest eigenvalues, largest first."""
    damping = DAMPING * total.diagonal().mean()
    identity = torch.eye(len(total), dtype=total.dtype, device=total.device)
    return torch.linalg.eigh(total + damping * identity).eigenvectors.flip(1)[:, :kept]


def random_rotation(size: int, seed: int) -> torch.Tensor:
    """Random orthogonal matrix, float64 [size, size], from a matrix of uniform entries."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.rand(size, size, generator=generator, dtype=torch.float64))[0]
