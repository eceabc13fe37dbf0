"""Numbers of weights that BESA removes from each row, from the learned sparsities."""

import torch

from meltpoint.methods._besa_masks import Ranking


def reachable(candidates: torch.Tensor) -> tuple[float, float]:
    """The least and the largest alpha that logits between 0 and 1 can give.

    The extremes give 1 to the candidates on one side of a cut, 0 to those on the other.
    """
    count = len(candidates)
    above = torch.ones(count, count + 1, dtype=torch.float64).tril(-1).T
    alphas = torch.cat([above, 1 - above]).softmax(dim=1) @ candidates.double()
    return alphas.min().item(), alphas.max().item()


def exact_counts(
    rankings: dict[str, Ranking], alphas: dict[str, torch.Tensor], fraction: float
) -> dict[str, torch.Tensor]:
    """Number of weights that each row loses, int64 [rows, 1] by name, for exactly that sparsity.

    fraction: the block's sparsity. alphas: learned sparsities by name, [rows], or [1] for all rows.
    """
    rows = {name: len(ranking.ranks) for name, ranking in rankings.items()}
    spread = torch.cat([alphas[name].detach().expand(count) for name, count in rows.items()])
    zeros = torch.cat([ranking.zeros for ranking in rankings.values()])
    widths = torch.cat([r.zeros.new_full((len(r.ranks),), r.width) for r in rankings.values()])
    counts = shift_to_total(spread.double(), widths, zeros, int(widths.sum().item() * fraction))
    return {
        name: part[:, None]
        for name, part in zip(rows, counts.split(list(rows.values())), strict=True)
    }


def shift_to_total(
    alphas: torch.Tensor, widths: torch.Tensor, zeros: torch.Tensor, total: int
) -> torch.Tensor:
    """Number of weights that each row loses such that `total` are gone, int64 [rows].

    One shift is added to all `alphas` [rows], which keeps the learned differences between rows. Sums
    are clipped to 0 and 1, and counts are at least the `zeros` [rows] of a row of width `widths`
    [rows]. The counts with the largest fractional parts are rounded up.
    """

    def wanted(shift: float) -> torch.Tensor:
        return torch.maximum((alphas + shift).clamp(0, 1) * widths, zeros)

    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if wanted(middle).sum() <= total else (low, middle)
    exact = wanted(low)
    counts = exact.long()
    missing = max(0, total - int(counts.sum()))
    counts[(exact - counts).sort(descending=True, stable=True).indices[:missing]] += 1
    return counts
