"""RIA: weights are removed by their share of their row and column times the norm of their input.

Metric ``S_ij = (|W_ij| / sum_i |W_ij| + |W_ij| / sum_j |W_ij|) sqrt(a_j)^alpha`` with ``a_j`` as in
Wanda; a row or column of zeros has the share 0. For a sparsity s each layer has one threshold, the
entry of index floor(numel s) of the sorted metric, inclusive; with ``group=row`` the floor(C s)
smallest of each row of C weights. For N:M the N largest of every M consecutive weights of a row are
kept.

For N:M, ``reallocate=true`` first deals out the input channels, sorted by ``importance``, over the
groups (heuristic channel reallocation). ``lsa=true`` improves this order, or else the layer's own,
one slot of the groups at a time: each slot's channels go to the groups where they retain the most
of the metric (linear sum assignment; in the official code only after the reallocation). The masks
go back to the layer's own order of channels, and there they are NOT N:M: the accuracy of the
permuted layer is measured, without its kernel. Both do nothing at a sparsity.

``reconstruct=true`` updates the kept weights by SparseGPT's column updates, with ten times the
damping where the Hessian is not positive definite. Zeros that a model already has stay.

Zhang, Bai, Lin, Zhao, Hou and Cannistraci, "Plug-and-Play: An Efficient Post-training Pruning Method
for Large Language Models", ICLR 2024.
"""

from typing import Literal

from pydantic import Field

from meltpoint.chain import Pattern, Sparsity
from meltpoint.errors import MeltpointError
from meltpoint.methods import _ria_channels as channels
from meltpoint.methods._masks import smallest_of_groups
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import CalibratedSettings
from meltpoint.methods.sparsegpt import update

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"


class Settings(CalibratedSettings):
    """The official code's settings."""

    group: Literal["layer", "row"] = Field(
        "layer", description="Weights that are compared with each other at a sparsity."
    )
    alpha: float = Field(0.5, ge=0, description="Power of the inputs' norm in the metric.")
    reallocate: bool = Field(
        False,
        description="Whether channels are dealt out over groups of N:M, which breaks the pattern.",
    )
    importance: Literal["sum", "retained"] = Field(
        "sum",
        description="Order in which channels are dealt out: by the sum of their metric, or by how many "
        "of their weights the pattern's sparsity, unstructured, would keep.",
    )
    lsa: bool = Field(
        False,
        description="Whether channels of a slot are assigned to groups, which breaks the pattern.",
    )
    lsa_blocks: int = Field(
        1,
        ge=1,
        description="Number of parts of the groups that are assigned separately, to save time.",
    )
    reconstruct: bool = Field(
        False, description="Whether the kept weights are updated as in SparseGPT."
    )
    percdamp: float = Field(
        0.01, gt=0, description="Damping of the Hessian, as a fraction of its mean diagonal."
    )

    def unused_settings(self) -> set[str]:
        """Names of settings without effect, because the part that they belong to is off."""
        needs = {"importance": self.reallocate, "lsa_blocks": self.lsa}
        needs["percdamp"] = self.reconstruct
        return super().unused_settings() | {name for name, used in needs.items() if not used}


def statistics(settings: Settings) -> tuple[str, ...]:
    """Names of the norms, and for the reconstruction of the Hessians."""
    return ("norm", "hessian") if settings.reconstruct else ("norm",)


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity | Pattern, settings: Settings
) -> None:
    """Prunes the block's linears in place; with `reconstruct` also updates their weights."""
    for names in block.same_input(statistics):
        inputs = statistics[names[0]]
        weights = [block.linears[name].weight for name in names]
        removed = [choose(weight, inputs.norm, level, settings) for weight in weights]
        if not settings.reconstruct:
            for weight, mask in zip(weights, removed, strict=True):
                weight.masked_fill_(mask, 0)
            continue
        updated = reconstruct(weights, inputs.hessian, removed, settings.percdamp)
        for weight, new in zip(weights, updated, strict=True):
            weight.copy_(new)


def choose(weight: Tensor, norm: Tensor, level: Sparsity | Pattern, settings: Settings) -> Tensor:
    """Mask of the weights to remove, bool [rows, C]; `norm` is [C]."""
    metric = relative_importance(weight).mul_(norm.sqrt() ** settings.alpha)
    gone = weight == 0
    if not isinstance(level, Pattern):
        return channels.smallest(metric.masked_fill_(gone, -1), level.fraction, settings.group)
    order = channels.arrange(metric, level, settings)
    metric.masked_fill_(gone, -1)
    if order is None:
        return smallest_of_groups(metric, level)
    gone[:, order] = smallest_of_groups(metric[:, order], level)
    return gone


def relative_importance(weight: Tensor) -> Tensor:
    """Each weight's share of its column plus its share of its row, [rows, C] in float32."""
    magnitude = weight.abs().float()
    columns, rows = magnitude.sum(dim=0), magnitude.sum(dim=1, keepdim=True)
    share = magnitude / columns.masked_fill_(columns == 0, 1)
    return share.add_(magnitude.div_(rows.masked_fill_(rows == 0, 1)))


def reconstruct(
    weights: list[Tensor], hessian: Tensor, removed: list[Tensor], percdamp: float
) -> list[Tensor]:
    """Weights [rows, C] after SparseGPT's updates, for linears of one input and their masks.

    A second try has ten times the damping. Raises MeltpointError if that fails too.
    """
    try:
        return update(weights, hessian, removed, percdamp)
    except MeltpointError:
        return update(weights, hessian, removed, 10 * percdamp)
