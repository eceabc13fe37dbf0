"""Units that the global search removes from a block: groups of attention heads, and neurons."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from meltpoint.model.block_parts import BlockParts, linears
from meltpoint.model.surgery import (
    keep_heads,
    keep_neurons,
    remove_attention,
    remove_mlp,
    remove_norms,
)

KINDS = ("attention", "mlp")


@dataclass(frozen=True)
class Member:
    """A linear in which each unit has `size` rows (axis 0) or columns (axis 1)."""

    name: str
    linear: nn.Linear
    axis: int
    size: int

    @property
    def cost(self) -> int:
        """Number of entries of the linear's weight that belong to one unit."""
        return self.size * self.linear.weight.shape[1 - self.axis]

    @property
    def biases(self) -> int:
        """Number of entries of the linear's bias that belong to one unit."""
        return self.size if self.axis == 0 and self.linear.bias is not None else 0


def members(block: nn.Module) -> dict[str, list[Member]]:
    """The linears that hold each kind of unit, by kind; none if attention or MLP was removed.

    If a linear is two factors, the second holds its rows and the first its columns.
    """
    parts, found = BlockParts(block), {kind: [] for kind in KINDS}
    names = {id(linear): name for name, linear in linears(block).items()}

    def add(kind: str, linear: nn.Module, axis: int, size: int) -> None:
        if isinstance(linear, nn.Sequential):
            linear = linear[1 if axis == 0 else 0]
        found[kind].append(Member(names[id(linear)], linear, axis, size))

    if parts.has_attention:
        group = parts.heads // parts.kv_heads
        add("attention", parts.queries, 0, group * parts.head_width)
        add("attention", parts.keys, 0, parts.head_width)
        add("attention", parts.values, 0, parts.head_width)
        add("attention", parts.attention_output, 1, group * parts.head_width)
    if parts.has_mlp:
        for linear in parts.mlp_inputs:
            add("mlp", linear, 0, 1)
        add("mlp", parts.mlp_output, 1, 1)
    return found


def importance(linears_of_kind: list[Member], gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    """``sum |W G|`` over the entries of each unit, [units]; `gradients` by the linears' names."""
    total = 0
    for member in linears_of_kind:
        product = member.linear.weight * gradients[member.name]
        channels = product.abs_().sum(dim=1 - member.axis)
        total = total + channels.unflatten(0, (-1, member.size)).sum(1)
    return total


def counts(block: nn.Module) -> dict[str, int]:
    """Numbers of the block's parameters by part, and of its heads and neurons.

    `norms` are those around attention and MLP; shortcut matrices are not counted.
    """
    parts = BlockParts(block)
    layers = [*parts.mlp_inputs, parts.mlp_output] if parts.has_mlp else []
    norms = {id(norm): norm for norm in (*parts.attention_norms, *parts.mlp_norms)}
    return {
        "attention": _size(parts.attention),
        "mlp": sum(map(_size, layers)),
        "norms": sum(map(_size, norms.values())),
        "num_heads": parts.heads if parts.has_attention else 0,
        "num_kv_heads": parts.kv_heads if parts.has_attention else 0,
        "intermediate_size": parts.intermediate if parts.has_mlp else 0,
    }


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def facts(block: nn.Module) -> dict[str, Any]:
    """Facts about a block for the search: its units, their costs, and its other parameters.

    For a kind `cost` is the number of a unit's weights, `parameters` includes its biases, and `rest` is
    the number of parameters that go with the last unit. The block's `norms` go if both attention and
    MLP go. The block's `parameters` are all of its parameters.
    """
    before, parts = counts(block), BlockParts(block)
    numbers = {"attention": before["num_kv_heads"], "mlp": before["intermediate_size"]}
    found: dict[str, Any] = {
        "counts": before,
        "norms": before["norms"] if parts.norms_lead else 0,
        "parameters": _size(block),
    }
    for kind, linears_of_kind in members(block).items():
        cost = sum(member.cost for member in linears_of_kind)
        parameters = cost + sum(member.biases for member in linears_of_kind)
        rest = before[kind] - numbers[kind] * parameters
        found[kind] = {
            "units": numbers[kind],
            "cost": cost,
            "parameters": parameters,
            "rest": rest,
        }
    return found


def cut(block: nn.Module, kept: dict[str, torch.Tensor]) -> None:
    """Keeps these units of a block, by kind: int64 indices in ascending order.

    Attention or an MLP without units becomes absent, and its norms stay. A block without either is an
    identity, whose norms go.
    """
    parts = BlockParts(block)
    for kind, has, keep, remove in (
        ("attention", parts.has_attention, keep_heads, remove_attention),
        ("mlp", parts.has_mlp, keep_neurons, remove_mlp),
    ):
        if has and len(kept[kind]):
            keep(block, kept[kind])
        elif has:
            remove(block, keep_norms=True)
    if not parts.has_attention and not parts.has_mlp:
        remove_norms(block)
