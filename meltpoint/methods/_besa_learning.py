"""BESA's learning: fits the sparsities of a block's rows or layers to the block's outputs."""

from collections.abc import Callable

import torch
from prodigyopt import Prodigy

from meltpoint.methods._besa_masks import MaskedWeight, Ranking


class Learner:
    """The candidates' logits of a block's linears, and the steps that fit them.

    ``alpha = sum_d p_d c_d`` is the sparsity of a row (`by_row`) or of a whole linear, with
    ``p = softmax(beta)`` or, where `sigmoid`, ``softmax(sigmoid(beta))``; beta starts at zero.
    """

    def __init__(
        self,
        rankings: dict[str, Ranking],
        candidates: torch.Tensor,
        by_row: bool,
        sigmoid: bool,
        d_coef: float,
    ) -> None:
        device = next(iter(rankings.values())).ranks.device
        self.rankings, self.sigmoid = rankings, sigmoid
        self.candidates = candidates.to(device)
        self.logits = {
            name: self.candidates.new_zeros(
                len(ranking.ranks) if by_row else 1, len(candidates), requires_grad=True
            )
            for name, ranking in rankings.items()
        }
        self.optimiser = Prodigy(list(self.logits.values()), d_coef=d_coef)
        # Gradients of half precision would vanish: a window's loss is small at each token.
        half = any(r.weight.dtype == torch.float16 for r in rankings.values())
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)

    def shares(self, name: str) -> torch.Tensor:
        """p of a linear: [rows or 1, candidates]."""
        logits = self.logits[name]
        return (logits.sigmoid() if self.sigmoid else logits).softmax(dim=1)

    def alphas(self) -> dict[str, torch.Tensor]:
        """The linears' sparsities, each [rows] or [1]."""
        return {name: self.shares(name) @ self.candidates for name in self.logits}

    def counts(self, name: str, alphas: torch.Tensor) -> torch.Tensor:
        """Number of weights of each row that a linear's alphas remove: [rows or 1, 1]."""
        return (alphas.detach() * self.rankings[name].width).long()[:, None]

    def sparsity(self, alphas: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sparsity of the block: the linears' mean alphas, weighted by their numbers of weights."""
        sizes = {name: ranking.ranks.numel() for name, ranking in self.rankings.items()}
        total = sum(alphas[name].mean() * size for name, size in sizes.items())
        return total / sum(sizes.values())

    def loss(
        self,
        forward: Callable[[dict[str, torch.Tensor]], torch.Tensor],
        reference: torch.Tensor,
        target: float,
        penalty: float,
    ) -> torch.Tensor:
        """Loss of the present masks: the block's error, and the penalty of a missed sparsity.

        forward: runs the block with weights by name; returns its outputs. reference: the dense block's
        outputs, [windows, tokens, H]. target: sparsity of the block. penalty: weight of the squared
        relative miss.
        """
        shares = {name: self.shares(name) for name in self.logits}
        alphas = {name: p @ self.candidates for name, p in shares.items()}
        weights = {
            name: MaskedWeight.apply(p, self.counts(name, alphas[name]), self.rankings[name])
            for name, p in shares.items()
        }
        missed = (self.sparsity(alphas) - target) / target
        return reconstruction_error(forward(weights), reference) + penalty * missed.square()

    @torch.enable_grad()
    def step(
        self,
        forward: Callable[[dict[str, torch.Tensor]], torch.Tensor],
        reference: torch.Tensor,
        target: float,
        penalty: float,
    ) -> torch.Tensor:
        """One step of the optimiser; returns the loss before it."""
        loss = self.loss(forward, reference, target, penalty)
        logits = list(self.logits.values())
        # Only with respect to the logits: the block's own parameters may require gradients too.
        gradients = torch.autograd.grad(self.scaler.scale(loss), logits)
        for parameter, gradient in zip(logits, gradients, strict=True):
            parameter.grad = gradient
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach()


def reconstruction_error(outputs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """``(1/H) sum_th ((Y_ref - Y)_th / ||Y_ref,h||)^2`` of [windows, tokens, H], in float32.

    The norm is over all tokens of the batch. A channel whose reference is 0 everywhere does not count.
    """
    outputs, reference = outputs.float().flatten(0, -2), reference.float().flatten(0, -2)
    squares = reference.square().sum(dim=0)
    errors = (outputs - reference).square().sum(dim=0)
    return (errors * torch.where(squares > 0, 1 / squares, 0)).mean()
