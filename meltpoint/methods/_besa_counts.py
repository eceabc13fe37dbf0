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
    """Number of weights that each row loses, {name: [rows, 1]}, for a block of exactly that sparsity.

    `alphas` are one per row, or one for all of a linear's.
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
    """Number of weights that each row loses for `total` to be gone: [rows], int64.

    All `alphas` [rows] are shifted by the one amount that makes it so, which leaves what was learned
    between them; they are clipped to 0 and 1, and to the `zeros` that a row of a `widths` has
    already. Of the parts of weights the largest are made whole.
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
