"""DSnoT's exchanges: in each row a removed weight is grown and a kept one removed, cycle by cycle.

The order of candidates is known beforehand: a row's removed weights of either sign come in the order of
their gain, its kept weights of either sign in the order of Wanda's metric. The cycles cannot reach more
of each than their number. Whole rows are sorted only if there are fewer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meltpoint.chain import Pattern, Sparsity
from meltpoint.lazy_import import torch

if TYPE_CHECKING:
    from meltpoint.methods.dsnot import Settings

INFINITY, NAN = float("inf"), float("nan")


@dataclass
class Rows:
    """The rows of linears that see the same input, [rows, C] but for the last field."""

    removed: Any
    contribution: Any  # W_ij m_j
    metric: Any  # of the first mask
    wanda: Any
    spread: Any  # v_j^power, [C]

    def error(self) -> "torch.Tensor":
        """Sum of the removed weights' contributions, [rows]."""
        return (self.contribution * self.removed).sum(dim=1)


def reselect(rows: Rows, level: Sparsity | Pattern, settings: "Settings") -> None:
    """Exchanges weights until every row is done; changes `rows.removed` in place.

    A row is done when its error is within the threshold, when there is nothing left to exchange or,
    with `same_sign` and for N:M, when the exchange would change the sign of its error.
    """
    pattern = isinstance(level, Pattern)
    pairs = _in_groups(rows, level, settings) if pattern else _in_rows(rows, settings)
    row = torch.arange(len(rows.removed), device=rows.removed.device)
    error = rows.error()
    sign = error.sign()
    active = torch.ones_like(row, dtype=torch.bool)
    position = torch.zeros(len(row), 2, dtype=torch.long, device=row.device)
    for _ in range(settings.cycles):
        side = (error > 0).long()
        grown, pruned, change = pairs(row, side, position)
        active &= (error.abs() > settings.threshold) & ~change.isnan()
        if pattern or settings.same_sign:
            active &= (error + change).sign() == sign
        if not active.any():
            break
        rows.removed[row, grown] &= ~active
        rows.removed[row, pruned] |= active
        error = torch.where(active, error + change, error)
        position[row, side] += active


def _in_rows(rows: Rows, settings):
    """Pairs for an unstructured mask: the n-th weight to grow with the n-th weight to remove."""
    grown, lost = _to_be_grown(rows, settings.cycles)
    pruned, gained = _to_be_removed(rows, settings.cycles)
    change = gained - lost
    kept = (~rows.removed & (rows.contribution != 0)).sum(dim=1)

    def pairs(row, side, position):
        at = row, side, position[row, side]
        met = position.sum(dim=1) >= kept
        return grown[at], pruned[at], change[at].masked_fill(met, NAN)

    return pairs


def _in_groups(rows: Rows, pattern: Pattern, settings):
    """The pairs of N:M: the n-th to be grown with the least of those kept in its group.

    If the group has none left, the weight is exchanged for itself, and the next weight's turn comes.
    """
    grown, lost = _to_be_grown(rows, settings.cycles)
    groups = rows.metric.masked_fill(rows.removed, INFINITY).unflatten(1, (-1, pattern.group))

    def pairs(row, side, position):
        at = row, side, position[row, side]
        column = grown[at]
        group = column // pattern.group
        least, place = groups[row, group].min(dim=1)
        groups[row, group, place] = INFINITY
        pruned = torch.where(least < INFINITY, group * pattern.group + place, column)
        return column, pruned, rows.contribution[row, pruned] - lost[at]

    return pairs


def _to_be_grown(rows: Rows, count: int):
    cost = (rows.contribution / rows.spread).abs_().neg_()
    return _of_either_sign(cost, rows.removed, rows, count, rightmost=True)


def _to_be_removed(rows: Rows, count: int):
    columns, contributions = _of_either_sign(
        rows.wanda, ~rows.removed, rows, count, rightmost=False
    )
    columns, contributions = columns.flip(1), contributions.flip(1)
    short = contributions.isnan().any(dim=(1, 2))
    if short.any():
        # When the weights of one sign are used up, those of the other sign follow in reverse order.
        parts = (part[short] for part in (rows.wanda, rows.removed, rows.contribution))
        columns[short], contributions[short] = _ends(*parts, columns.shape[2])
    return columns, contributions


def _ends(wanda, removed, contribution, count: int):
    """The first `count` of the rows' lists of kept weights from either end, tail and head."""
    lists = kept_by_wanda(wanda, removed, contribution)
    rest = max(count - lists.shape[1], 0)
    lists = torch.nn.functional.pad(lists, (rest, rest), value=-1)
    columns = torch.stack([end[:, rest : rest + count] for end in (lists.flip(1), lists)], dim=1)
    return _with_contributions(columns.clamp(min=0), columns < 0, contribution)


def kept_by_wanda(
    wanda: "torch.Tensor", removed: "torch.Tensor", contribution: "torch.Tensor"
) -> "torch.Tensor":
    """Kept columns of each row, int64 [rows, kept]; all rows have equally many.

    Columns of negative contribution come first, in Wanda's order. Columns of positive contribution come
    last, in reverse order. In between there is a -1 for each column that contributes nothing. wanda,
    removed, contribution: [rows, C].
    """
    order = wanda.argsort(dim=1, stable=True)
    kept = order[~removed.gather(1, order)].view(len(order), -1)
    contribution = contribution.gather(1, kept)
    length = kept.shape[1]
    from_head = (contribution < 0).cumsum(dim=1) - 1
    from_tail = length - (contribution > 0).cumsum(dim=1)
    place = torch.where(contribution < 0, from_head, from_tail)
    place.masked_fill_(contribution == 0, length)
    lists = kept.new_full((len(kept), length + 1), -1)
    return lists.scatter_(1, place, kept)[:, :length]


def _of_either_sign(key, among, rows: Rows, count: int, rightmost: bool):
    """The entries of negative and of positive contribution in ascending order of a key.

    Returns their columns and contributions, [rows, 2 signs, at least `count`]; contributions are
    NaN where a list has ended. No list is as long as its row, so one that is shorter than `count`
    ends in a NaN. Of equal positive entries the rightmost comes first with `rightmost`.
    """
    signs = (rows.contribution < 0, False), (rows.contribution > 0, rightmost)
    lists = [_first(key.masked_fill(~(among & sign), INFINITY), count, r) for sign, r in signs]
    columns, ended = (torch.stack(parts, dim=1) for parts in zip(*lists, strict=True))
    return _with_contributions(columns, ended, rows.contribution)


def _with_contributions(columns, ended, contribution):
    contributions = contribution[:, None].expand(-1, 2, -1).gather(2, columns)
    return columns, contributions.masked_fill_(ended, NAN)


def _first(key, count: int, rightmost: bool):
    """Columns of the smallest entries of each row, ascending, and a mask of the infinite ones."""
    size = min(count + 1, key.shape[1])
    least, columns = key.topk(size, dim=1, largest=False)
    # topk may choose any of several equal entries. One extra entry shows whether that has happened.
    tied = ((least[:, 1:] == least[:, :-1]) & (least[:, 1:] < INFINITY)).any(dim=1)
    if tied.any():
        columns[tied] = _stable_order(key[tied], rightmost)[:, :size]
    return columns, least == INFINITY


def _stable_order(key, rightmost: bool):
    if not rightmost:
        return key.argsort(dim=1, stable=True)
    return key.shape[1] - 1 - key.flip(1).argsort(dim=1, stable=True)
