"""DSnoT's exchanges as the published code makes them.

A row has two whole lists. One has all columns in the order of their signed gain; kept columns have the
gain 0 and are in the middle. The other has the kept columns in Wanda's order, with those of positive
contribution reversed behind the negative ones, and column 0 in between for each that contributes
nothing. A pointer walks from either end of either list, in all rows as long as one of them is active,
over any column. In rows that are done, the column to be grown is marked as removed.
"""

from typing import TYPE_CHECKING

from meltpoint.chain import Pattern, Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods._dsnot_exchange import Rows, kept_by_wanda

if TYPE_CHECKING:
    from meltpoint.methods.dsnot import Settings


class Pointers:
    """A pair of pointers, one from each end, into the rows' lists of columns [rows, length]."""

    def __init__(self, lists) -> None:
        self.lists = lists
        self.row = torch.arange(len(lists), device=lists.device)
        self.head = torch.zeros_like(self.row)
        self.tail = self.head + lists.shape[1] - 1

    def take(self, from_tail: "torch.Tensor") -> "torch.Tensor":
        """The next column of each row; raises NotApplicable at the end of a list."""
        place = torch.where(from_tail, self.tail, self.head)
        if ((place < 0) | (place >= self.lists.shape[1])).any():
            raise NotApplicable(
                "with overrun=true a pointer left the row, where the published code fails: take "
                "fewer cycles, or overrun=false"
            )
        self.tail -= from_tail.long()
        self.head += (~from_tail).long()
        return self.lists[self.row, place]


def reselect(rows: Rows, level: Sparsity | Pattern, settings: "Settings") -> None:
    """Exchanges weights in all rows until none is active; changes `rows.removed` in place."""
    pattern = isinstance(level, Pattern)
    growing = Pointers(_by_gain(rows))
    partner = _in_group(rows, level) if pattern else _in_row(rows)
    row = growing.row
    error = rows.error()
    sign = error.sign()
    active = torch.ones_like(row, dtype=torch.bool)
    for _ in range(settings.cycles):
        if not active.any():
            break
        grown = growing.take(error > 0)
        pruned = partner(grown, error)
        after = error + rows.contribution[row, pruned] - rows.contribution[row, grown]
        active &= error.abs() > settings.threshold
        if pattern or settings.same_sign:
            active &= after.sign() == sign
        rows.removed[row, pruned] = active
        rows.removed[row, grown] = ~active
        error = torch.where(active, after, error)


def _by_gain(rows):
    gain = (rows.contribution / rows.spread).masked_fill_(~rows.removed, 0)
    return gain.argsort(dim=1, stable=True)


def _in_row(rows):
    lists = kept_by_wanda(rows.wanda, rows.removed, rows.contribution).clamp(min=0)
    pruning = Pointers(lists)
    return lambda grown, error: pruning.take(error < 0)


def _in_group(rows, pattern: Pattern):
    groups = rows.metric.masked_fill(rows.removed, float("inf")).unflatten(1, (-1, pattern.group))
    row = torch.arange(len(groups), device=groups.device)

    def partner(grown, error):
        group = grown // pattern.group
        # Where a group has none left, what follows is topk's choice of equals; argmin's differs.
        place = groups[row, group].topk(1, dim=1, largest=False).indices[:, 0]
        groups[row, group, place] = float("inf")
        return group * pattern.group + place

    return partner
