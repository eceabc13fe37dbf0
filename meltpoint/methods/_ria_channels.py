"""RIA's orders of the input channels, in which they are grouped for N:M."""

from typing import TYPE_CHECKING

from meltpoint.chain import Pattern
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods._masks import at_most_threshold, smallest_of_rows
from meltpoint.methods.contract import Tensor

if TYPE_CHECKING:
    from meltpoint.methods import ria

optimize = LazyModule("scipy.optimize")


def arrange(metric: Tensor, pattern: Pattern, settings: "ria.Settings") -> "Tensor | None":
    """Order of the channels for grouping, int64 [C]; None if they keep their own order."""
    if not (settings.reallocate or settings.lsa):
        return None
    order = torch.arange(metric.shape[1], device=metric.device)
    if settings.reallocate:
        order = deal_out(_importance(metric, pattern, settings), pattern.group)
    if settings.lsa:
        order = assign(metric, order, pattern, settings.lsa_blocks)
    return order


def _importance(metric: Tensor, pattern: Pattern, settings: "ria.Settings") -> Tensor:
    if settings.importance == "sum":
        return metric.sum(dim=0)
    return -smallest(metric, pattern.fraction, settings.group).sum(dim=0)


def deal_out(importance: Tensor, group: int) -> Tensor:
    """Channels in ascending importance, cut into `group` chunks: one of each chunk to a group.

    Every other chunk is taken backwards, so that the groups' sums come out alike.
    """
    chunks = importance.sort(stable=True).indices.view(group, -1)
    chunks[1::2] = chunks[1::2].flip(1)
    return chunks.T.flatten()


def assign(metric: Tensor, order: Tensor, pattern: Pattern, blocks: int = 1) -> Tensor:
    """The order, int64 [C], improved slot by slot: the groups' kept weights get a larger sum.

    With a group's other channels fixed, a row keeps the larger of the candidate a and the N-th largest
    b of the others, besides the weights that it keeps in any case. As
    ``2 max(a, b) = a + b + |a - b|``, and the sums of a and of b are equal for every assignment, the
    distances are maximised.
    """
    order = order.clone().view(-1, pattern.group)
    for slot in range(pattern.group):
        others = [other for other in range(pattern.group) if other != slot]
        for groups in order.tensor_split(blocks):
            bar = metric[:, groups[:, others]].kthvalue(pattern.group - pattern.kept, dim=2).values
            candidates = metric[:, groups[:, slot]]
            distance = torch.cdist(bar.T.contiguous(), candidates.T.contiguous(), p=1)
            _, best = optimize.linear_sum_assignment(distance.cpu().numpy(), maximize=True)
            groups[:, slot] = groups[torch.from_numpy(best).to(groups.device), slot]
    return order.flatten()


def smallest(metric: Tensor, fraction: float, group: str) -> Tensor:
    """Mask of the smallest entries, bool [rows, C]: of each row if `group` is "row", else of all."""
    if group == "row":
        return smallest_of_rows(metric, int(metric.shape[1] * fraction))
    return at_most_threshold(metric, fraction)
