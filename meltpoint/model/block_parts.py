"""The parts of a decoder block, by what they are for.

Methods that change shapes work with these instead of an architecture's names. A new architecture is a
row of `LAYOUTS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from meltpoint.errors import NotApplicable

if TYPE_CHECKING:
    from transformers import Cache


@dataclass(frozen=True)
class Layout:
    """Names of the parts in a block. A norm may come before or after attention and the MLP."""

    output: str = "o_proj"
    mlp: str = "mlp"
    mlp_inputs: tuple[str, ...] = ("gate_proj", "up_proj")
    mlp_output: str = "down_proj"
    attention_norms: tuple[str, str | None] = ("input_layernorm", None)
    mlp_norms: tuple[str, str | None] = ("post_attention_layernorm", None)


PLAIN = Layout()
SANDWICH = Layout(
    attention_norms=("input_layernorm", "post_attention_layernorm"),
    mlp_norms=("pre_feedforward_layernorm", "post_feedforward_layernorm"),
)
OPT = Layout(
    output="out_proj",
    mlp="",
    mlp_inputs=("fc1",),
    mlp_output="fc2",
    attention_norms=("self_attn_layer_norm", None),
    mlp_norms=("final_layer_norm", None),
)
LAYOUTS = {
    "LlamaDecoderLayer": PLAIN,
    "MistralDecoderLayer": PLAIN,
    "Qwen2DecoderLayer": PLAIN,
    "Qwen3DecoderLayer": PLAIN,
    "GemmaDecoderLayer": PLAIN,
    "Gemma2DecoderLayer": SANDWICH,
    "Gemma3DecoderLayer": SANDWICH,
    "OPTDecoderLayer": OPT,
}


class Absent(nn.Module):
    """Takes the place of a part that was removed: its output is zero, or a constant `bias` [width].

    A removed attention must still count the tokens in the cache, because a model may ask any block for
    the position of the next token. Its keys in the cache have one number each.
    """

    def __init__(self, layer_index: int | None = None, constant: Tensor | None = None) -> None:
        super().__init__()
        self.layer_idx = layer_index
        parameter = None if constant is None else nn.Parameter(constant, requires_grad=False)
        self.register_parameter("bias", parameter)

    def forward(
        self, hidden_states: Tensor, past_key_values: "Cache | None" = None, **_: object
    ) -> Tensor | tuple[Tensor, None]:
        """The constant in the input's shape; in the place of attention a pair of it and None."""
        output = self.added_to(hidden_states.new_zeros(hidden_states.shape))
        if self.layer_idx is None:
            return output
        if past_key_values is not None:
            tokens = hidden_states[:, None, :, :1]
            past_key_values.update(tokens, tokens, self.layer_idx)
        return output, None

    def added_to(self, hidden: Tensor) -> Tensor:
        """The hidden states, with the constant added where there is one."""
        return hidden if self.bias is None else hidden + self.bias


class BlockParts:
    """The parts of one block; raises NotApplicable for an architecture that is not in `LAYOUTS`."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        name = type(block).__name__
        if name not in LAYOUTS:
            raise NotApplicable(
                f"the parts of a {name} are not known: its shapes cannot be changed"
            )
        self.layout = LAYOUTS[name]

    @property
    def attention(self) -> nn.Module:
        """The attention module."""
        return self.block.self_attn

    @property
    def has_attention(self) -> bool:
        """True for a block whose attention was not dropped."""
        return not isinstance(self.attention, Absent)

    @property
    def queries(self) -> nn.Module:
        """The linear of the queries."""
        return self.attention.q_proj

    @property
    def keys(self) -> nn.Module:
        """The linear of the keys."""
        return self.attention.k_proj

    @property
    def values(self) -> nn.Module:
        """The linear of the values."""
        return self.attention.v_proj

    @property
    def attention_output(self) -> nn.Module:
        """The linear from the attention heads back to the residual stream."""
        return getattr(self.attention, self.layout.output)

    @property
    def mlp_owner(self) -> nn.Module:
        """The module that holds the MLP's linears as attributes: the MLP, in OPT the block itself."""
        return getattr(self.block, self.layout.mlp) if self.layout.mlp else self.block

    @property
    def has_mlp(self) -> bool:
        """True for a block whose MLP was not dropped."""
        return self.absent_mlp is None

    @property
    def absent_mlp(self) -> Absent | None:
        """The `Absent` in the place of a removed MLP, in OPT of its output; None if there is an MLP."""
        owner = self.mlp_owner
        output = owner if self.layout.mlp else getattr(owner, self.layout.mlp_output)
        return output if isinstance(output, Absent) else None

    @property
    def mlp_inputs(self) -> list[nn.Module]:
        """The linears from the residual stream to the MLP's neurons."""
        return [getattr(self.mlp_owner, name) for name in self.layout.mlp_inputs]

    @property
    def mlp_output(self) -> nn.Module:
        """The linear from the MLP's neurons back to the residual stream."""
        return getattr(self.mlp_owner, self.layout.mlp_output)

    @property
    def attention_norms(self) -> tuple[nn.Module, nn.Module]:
        """The norms before and after attention; an identity for one that the block lacks."""
        return self._norms(self.layout.attention_norms)

    @property
    def mlp_norms(self) -> tuple[nn.Module, nn.Module]:
        """The norms before and after the MLP; an identity for one that the block lacks."""
        return self._norms(self.layout.mlp_norms)

    @property
    def norms_lead(self) -> bool:
        """True where norms come before attention and MLP; in OPT-350m they come after."""
        return getattr(self.block, "do_layer_norm_before", True)

    def _norms(self, names: tuple[str, str | None]) -> tuple[nn.Module, nn.Module]:
        return tuple(getattr(self.block, n) if n else nn.Identity() for n in names)

    def mlp(self, hidden: Tensor) -> Tensor:
        """The MLP's output [..., width] on its normalised input [..., width]."""
        if self.layout.mlp:
            return getattr(self.block, self.layout.mlp)(hidden)
        return self.mlp_output(self.block.activation_fn(self.mlp_inputs[0](hidden)))

    @property
    def head_width(self) -> int:
        """Width of an attention head."""
        return self.attention.head_dim

    @property
    def heads(self) -> int:
        """Number of query heads, counted in the weights."""
        return rows_of(self.queries) // self.head_width

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads, counted in the weights."""
        return rows_of(self.keys) // self.head_width

    @property
    def intermediate(self) -> int:
        """Number of the MLP's neurons."""
        return columns_of(self.mlp_output)

    @property
    def width(self) -> int | None:
        """Width of the hidden states that the block takes; None where all of it was removed."""
        attention = self.queries if self.has_attention else None
        mlp = self.mlp_inputs[0] if self.has_mlp else None
        for name, reader in (("attention_shortcut", attention), ("mlp_shortcut", mlp)):
            if (shortcut := getattr(self.block, name, None)) is not None:
                return shortcut.shape[0]
            if reader is not None:
                return columns_of(reader)
        return None


def linears(block: nn.Module) -> dict[str, nn.Linear]:
    """A block's linear layers by name, in the order in which they are defined."""
    return {name: m for name, m in block.named_modules() if isinstance(m, nn.Linear)}


def other_matrices(block: nn.Module) -> dict[str, Tensor]:
    """Matrices of a block's architecture that are no linear's weight, by name; a router's, for example.

    Axes of length 1 are dropped. A tensor of more than two axes is flattened to rows.
    """
    weights = {f"{name}.weight" for name in linears(block)}
    return {
        name: tensor.flatten(1)
        for name, tensor in block.named_parameters()
        if name not in weights
        and sum(size > 1 for size in tensor.shape) > 1
        and not name.endswith(("_shortcut", "_projection"))
    }


def matrices(block: nn.Module) -> dict[str, nn.Linear | nn.Sequential]:
    """The linears of a block's architecture by name; a pair of factors counts as one linear."""
    names = dict.fromkeys(name.removesuffix(".0").removesuffix(".1") for name in linears(block))
    return {name: block.get_submodule(name) for name in names}


def weight_of(linear: nn.Linear | nn.Sequential) -> Tensor:
    """Weight [rows, columns] of a linear or of the two factors that stand for one."""
    if isinstance(linear, nn.Sequential):
        return linear[1].weight @ linear[0].weight
    return linear.weight


def norms(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The normalisation layers of a module, by name."""
    for name, part in module.named_modules():
        if isinstance(part, nn.LayerNorm) or type(part).__name__.endswith("RMSNorm"):
            yield name, part


def scale_of(norm: nn.Module) -> Tensor | None:
    """Factors [width] of a norm's channels; None for a norm that has none. Gemma's are 1 + weight."""
    if norm.weight is None:
        return None
    return 1 + norm.weight.double() if type(norm).__name__.startswith("Gemma") else norm.weight


def rows_of(linear: nn.Module) -> int:
    """Output width of a linear or of the two factors that stand for one."""
    return (linear[-1] if isinstance(linear, nn.Sequential) else linear).out_features


def columns_of(linear: nn.Module) -> int:
    """Input width of a linear or of the two factors that stand for one."""
    return (linear[0] if isinstance(linear, nn.Sequential) else linear).in_features
