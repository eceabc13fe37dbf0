"""BESA's masks: a differentiable choice of how many of a row's ranked weights to remove."""

import torch
from torch.autograd.function import FunctionCtx

CHUNK = 1 << 22


def candidates(step: float) -> torch.Tensor:
    """The sparsities 1, 1 - step, ..., 0, whose weighted mean is learned: float32 [candidates]."""
    # In single precision 0.5 comes out slightly smaller, and so it does in the official code.
    values = torch.arange(1, -step / 2, -step)
    values[-1] = 0
    return values


class Ranking:
    """The order in which the weights of each row [rows, C] are removed.

    Weights with a small `metric` go first, and of equal ones the leftmost; weights that are zero
    already go before all others. ``cuts[d]`` is the number of a row's weights that go at the sparsity
    ``candidates[d]``. ``goes[r, d]`` is 1 if the weight of rank r is among them, else 0.
    """

    def __init__(
        self, weight: torch.Tensor, metric: torch.Tensor, candidates: torch.Tensor
    ) -> None:
        self.weight, self.width = weight, weight.shape[1]
        gone = weight == 0
        self.zeros = gone.sum(dim=1)
        order = metric.masked_fill(gone, -1).sort(dim=1, stable=True).indices
        places = torch.arange(self.width, device=weight.device)
        narrow = torch.int16 if self.width <= torch.iinfo(torch.int16).max else torch.int32
        self.ranks = torch.empty_like(order, dtype=narrow)
        self.ranks.scatter_(1, order, places.to(narrow).expand_as(order))
        self.cuts = (candidates * self.width).long().to(weight.device)
        self.goes = (places[:, None] < self.cuts).float()

    def removed(self, counts: torch.Tensor) -> torch.Tensor:
        """The mask of the first `counts` ([rows, 1] or [1, 1]) weights of each row."""
        return self.ranks < counts.to(self.ranks.dtype)

    def prefix_sums(self, values: torch.Tensor, shared: bool) -> torch.Tensor:
        """For each candidate the sum of `values` [rows, C] over the weights that it removes.

        Returns [rows, candidates], or, where `shared`, their sum over rows [1, candidates].
        """
        rows = max(1, CHUNK // values.shape[1])
        parts = [
            self._prefix_sums(part, ranks, shared)
            for part, ranks in zip(values.split(rows), self.ranks.split(rows), strict=True)
        ]
        return torch.stack(parts).sum(dim=0) if shared else torch.cat(parts)

    def _prefix_sums(self, values, ranks, shared):
        # Each rank occurs once in a row, so that this is deterministic: a scatter-add or a scan would
        # add in an order that depends on the device.
        ordered = torch.empty_like(values).scatter_(1, ranks.long(), values)
        if shared:
            ordered = ordered.sum(dim=0, keepdim=True)
        return ordered @ self.goes


class MaskedWeight(torch.autograd.Function):
    """A weight without its first `counts` entries; its gradient is that of a soft keep probability.

    The probability of the weight of rank r is ``P = 1 - sum_d p_d [r < cuts_d]``, with `shares` p
    [rows, candidates] or [1, candidates]. Straight through: the mask is hard going forward, and P
    going backward, so that no [rows, C, candidates] is ever made.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, shares: torch.Tensor, counts: torch.Tensor, ranking: Ranking
    ) -> torch.Tensor:
        """Weight [rows, C] with zeros for the entries that `counts` removes."""
        ctx.ranking, ctx.shared = ranking, len(shares) == 1
        return torch.where(ranking.removed(counts), 0, ranking.weight)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Gradient of `shares`, of their shape; `counts` and `ranking` have none."""
        values = gradient.float() * ctx.ranking.weight
        return -ctx.ranking.prefix_sums(values, ctx.shared), None, None
