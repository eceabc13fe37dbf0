"""Units that a structured method cuts: key and value heads with their query heads, and neurons.

A unit of attention is a key and value head with the query heads that share it; after `expand_kv` that
is one head. A unit of the MLP is a neuron.
"""

from dataclasses import dataclass

from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods.contract import Tensor

parts_of = LazyModule("meltpoint.model.block_parts")
surgery = LazyModule("meltpoint.model.surgery")

KINDS = ("attention", "mlp")


@dataclass(frozen=True)
class Units:
    """The units of a block, and how many parameters each holds; a part that is absent has none.

    `head_width` is the width of a head and `group` the query heads of a unit of attention. `added` are
    the parameters that `expand_kv` adds to the block, `biases` those that the outputs of attention and
    MLP would add if both had a bias.
    """

    heads: int
    neurons: int
    head_cost: int
    neuron_cost: int
    added: int
    biases: int
    group: int = 1
    head_width: int = 1

    @property
    def cost(self) -> int:
        """Parameters of all units."""
        return self.heads * self.head_cost + self.neurons * self.neuron_cost

    def count_of(self, kind: str) -> int:
        """Number of units of "attention" or "mlp"."""
        return self.heads if kind == "attention" else self.neurons

    def cost_of(self, kind: str) -> int:
        """Parameters of one unit of "attention" or "mlp"."""
        return self.head_cost if kind == "attention" else self.neuron_cost


def units_of(module: "torch.nn.Module", expand_kv: bool = False) -> Units:
    """Units of a block; with `expand_kv` those that it has when each query head has its own."""
    parts = parts_of.BlockParts(module)
    heads = head_cost = neurons = neuron_cost = added = 0
    group = width = 1
    biases = 0
    if parts.has_attention:
        width = parts.head_width
        group = parts.heads // parts.kv_heads
        per_query = _row_cost(parts.queries) + _column_cost(parts.attention_output)
        per_key = _row_cost(parts.keys) + _row_cost(parts.values)
        if expand_kv:
            added = (parts.heads - parts.kv_heads) * width * per_key
            group = 1
        heads = parts.heads // group
        head_cost = width * (group * per_query + per_key)
        biases += _missing_bias(parts.attention_output)
    if parts.has_mlp:
        neurons = parts.intermediate
        neuron_cost = sum(map(_row_cost, parts.mlp_inputs)) + _column_cost(parts.mlp_output)
        biases += _missing_bias(parts.mlp_output)
    return Units(heads, neurons, head_cost, neuron_cost, added, biases, group, width)


def _row_cost(linear: "torch.nn.Module") -> int:
    last = linear[-1] if isinstance(linear, torch.nn.Sequential) else linear
    return last.weight.shape[1] + (last.bias is not None)


def _column_cost(linear: "torch.nn.Module") -> int:
    return (linear[0] if isinstance(linear, torch.nn.Sequential) else linear).weight.shape[0]


def _missing_bias(linear: "torch.nn.Module") -> int:
    last = linear[-1] if isinstance(linear, torch.nn.Sequential) else linear
    return last.weight.shape[0] if last.bias is None else 0


def outputs_of(module: "torch.nn.Module") -> dict[str, "torch.nn.Module"]:
    """The output linears by "attention" and "mlp"; a part that is absent has none."""
    parts = parts_of.BlockParts(module)
    outputs = {"attention": parts.attention_output} if parts.has_attention else {}
    return outputs | ({"mlp": parts.mlp_output} if parts.has_mlp else {})


def input_name(module: "torch.nn.Module", linear: "torch.nn.Module") -> str:
    """Name in a block of the linear that sees the input of `linear`, which may be two factors."""
    first = linear[0] if isinstance(linear, torch.nn.Sequential) else linear
    return next(name for name, part in module.named_modules() if part is first)


def cut_units(
    module: "torch.nn.Module",
    heads: "Tensor | None",
    neurons: "Tensor | None",
    biases: dict[str, Tensor] | None = None,
) -> None:
    """Cuts a block in place to the units that are true in the masks, bool [units].

    A part whose mask is None stays unchanged. biases: new biases of the outputs by "attention" and
    "mlp". A part that loses all of its units becomes absent: its output is its bias alone.
    """
    outputs, biases = outputs_of(module), biases or {}
    for name, bias in biases.items():
        surgery.set_bias(outputs[name], bias)
    if heads is not None:
        if heads.any():
            surgery.keep_heads(module, heads.nonzero().flatten())
        else:
            surgery.remove_attention(module, biases.get("attention"))
    if neurons is not None:
        if neurons.any():
            surgery.keep_neurons(module, neurons.nonzero().flatten())
        else:
            surgery.remove_mlp(module, biases.get("mlp"))
