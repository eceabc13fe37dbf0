"""LLM-Pruner's importance of the channels that belong together, by weights and gradients."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods._units import Units
from meltpoint.methods.contract import Tensor

if TYPE_CHECKING:
    from meltpoint.model.gradient_statistics import GradientStatistics

parts_of = LazyModule("meltpoint.model.block_parts")

# Gradient accumulators that each importance needs.
GRADIENTS = {
    "param_first": ("gradient",),
    "param_second": ("gradient_square",),
    "param_mix": ("gradient", "gradient_square"),
    "vectorize": ("gradient",),
    "l1": (),
    "l2": (),
}
ATTENTION = ("queries", "keys", "values", "output")


def member_scores(
    module: "torch.nn.Module", gradients: "Mapping[str, GradientStatistics]", importance: str
) -> dict[str, Tensor]:
    """Scores of the channels of each linear that belongs to a block's units, float32 [channels].

    They are by "attention" or "mlp" and the linear's part in it, as "attention.keys". `gradients` are
    by the linears' names in the block.
    """
    parts = parts_of.BlockParts(module)
    score = scorer_of(module, gradients, importance)
    found = {}
    if parts.has_attention:
        linears = (parts.queries, parts.keys, parts.values, parts.attention_output)
        for name, linear in zip(ATTENTION, linears, strict=True):
            found[f"attention.{name}"] = score(linear, along=0 if name == "output" else 1)
    if parts.has_mlp:
        for index, linear in enumerate(parts.mlp_inputs):
            found[f"mlp.{index}"] = score(linear, along=1)
        found["mlp.output"] = score(parts.mlp_output, along=0)
    return found


def scorer_of(
    module: "torch.nn.Module", gradients: "Mapping[str, GradientStatistics]", importance: str
) -> "Callable[[torch.nn.Module, int], Tensor]":
    """Function from a linear and a dimension to scores of the other dimension, float32 [channels]."""
    names = {id(part): name for name, part in module.named_modules()}

    def score(linear: "torch.nn.Module", along: int) -> Tensor:
        # Of two factors the one whose rows, or columns, are the channels.
        if isinstance(linear, torch.nn.Sequential):
            linear = linear[0] if along == 0 else linear[-1]
        return channel_scores(linear.weight, gradients.get(names[id(linear)]), importance, along)

    return score


def channel_scores(
    weight: Tensor, gradients: "GradientStatistics | None", importance: str, along: int
) -> Tensor:
    """Importance of a matrix's channels, [channels]: that of their weights, summed along `along`."""
    weight = weight.float()
    if importance == "l1":
        return weight.abs().sum(along)
    if importance == "l2":
        return weight.square().sum(along)
    if importance == "param_second":
        return (weight.square() * gradients.gradient_square).abs().sum(along)
    salience = weight * gradients.gradient
    if importance == "vectorize":
        return salience.sum(along).abs()
    if importance == "param_mix":
        salience -= 0.5 * weight.square() * gradients.gradient_square
    return salience.abs().sum(along)


def unit_scores(
    search: dict[str, Any], index: int, units: Units, importance: str, fold_across_heads: bool
) -> dict[str, Tensor]:
    """Scores of a block's units, float32 [units] by "attention" and "mlp".

    A channel's score is the sum over the linears that it belongs to, or for l1 and l2 their mean; a
    head's is the sum of its channels. Scores of query heads are added to those of the key head that
    serves them or, with `fold_across_heads`, query head a's to those of key head a modulo their number.
    """
    found = {}
    for kind in ("attention", "mlp"):
        members = [
            torch.from_numpy(array)
            for key, array in search.items()
            if key.startswith(f"{index}.{kind}.")
        ]
        if not members:
            continue
        channels = min(map(len, members))
        width = channels // units.count_of(kind)
        folded = torch.stack([_fold(x, channels, width, fold_across_heads) for x in members])
        total = folded.mean(0) if importance in ("l1", "l2") else folded.sum(0)
        found[kind] = total.reshape(-1, width).sum(1)
    return found


def _fold(scores: Tensor, channels: int, width: int, across_heads: bool) -> Tensor:
    """Scores of `channels` channels, float32; those of several query heads are added up."""
    if across_heads:
        return scores.reshape(-1, channels).sum(0)
    return scores.reshape(channels // width, -1, width).sum(1).flatten()
