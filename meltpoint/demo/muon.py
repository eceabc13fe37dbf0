"""Muon in float32 for many small matrices."""

from collections.abc import Iterable

import torch

# The first three polynomials of Polar Express (Amsel et al. 2025, arXiv:2505.16932). They bring the
# larger singular values between about 0.2 and 1.9, in three fifths of the time of five polynomials.
POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """Approximations of U Vᵀ for each matrix U S Vᵀ, [count, rows, columns] in the matrices' dtype."""
    if matrices.size(-2) > matrices.size(-1):
        return orthogonalize(matrices.mT).mT
    norms = matrices.norm(dim=(-2, -1), keepdim=True)
    x = matrices / (1.01 * norms).clamp(min=1e-7)
    for a, b, c in POLYNOMIALS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalized by Newton-Schulz iterations, for matrices only (Jordan 2024).

    `torch.optim.Muon` takes one matrix at a time, in bfloat16, whose speed and rounding depend on the
    CPU. Here matrices of one shape go through the iterations together, in float32. A matrix
    [rows, columns] moves by lr * sqrt(max(1, rows / columns)) times its orthogonalized momentum.

    Raises:
        ValueError: a parameter is not a matrix.
    """

    def __init__(self, matrices: Iterable[torch.Tensor], lr: float, momentum: float, decay: float):
        groups: dict[torch.Size, list[torch.Tensor]] = {}
        for matrix in matrices:
            if matrix.ndim != 2:
                raise ValueError(f"Muon moves matrices, not a tensor {tuple(matrix.shape)}.")
            groups.setdefault(matrix.shape, []).append(matrix)
        defaults = {"lr": lr, "momentum": momentum, "decay": decay}
        super().__init__([{"params": group} for group in groups.values()], defaults)

    @torch.no_grad()
    def step(self) -> None:
        """Moves every matrix once."""
        for group in self.param_groups:
            self._move(group["params"], group["lr"], group["momentum"], group["decay"])

    def _move(self, matrices: list, lr: float, momentum: float, decay: float) -> None:
        gradients = torch.stack([matrix.grad for matrix in matrices])
        state = self.state[matrices[0]]
        average = state.setdefault("momentum", torch.zeros_like(gradients))
        average.lerp_(gradients, 1 - momentum)
        directions = orthogonalize(gradients.lerp(average, momentum))
        rows, columns = gradients.shape[-2:]
        for matrix, direction in zip(matrices, directions, strict=True):
            matrix.mul_(1 - lr * decay)
            matrix.sub_(direction, alpha=lr * max(1, rows / columns) ** 0.5)
