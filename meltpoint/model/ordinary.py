"""An ordinary model of the architecture that computes the same function as a model of other shapes.

Its config has as many heads and neurons as the largest block. Heads, neurons and parts that a block
lacks become zeros, and pairs of factors are multiplied out. A change that no config of the architecture
can hold raises NotApplicable.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from meltpoint.errors import NotApplicable
from meltpoint.model import empty_model, shaped
from meltpoint.model.block_parts import LAYOUTS, Absent, BlockParts, linears, matrices, norms

INTERMEDIATE = ("intermediate_size", "ffn_dim")
# Parameters that steps add to a block and that no architecture has.
ADDED = ("_shortcut", "_projection")


def config_changes(config: PreTrainedConfig, stored: dict, blocks: nn.ModuleList) -> dict:
    """Keys of the config that an ordinary model needs to hold blocks of any shapes.

    `stored` is the config's JSON. Raises NotApplicable for biases that the architecture lacks.
    """
    changes = _sizes(config, [BlockParts(b) for b in blocks if type(b).__name__ in LAYOUTS])
    lacking = _lacking_biases(model_of(config, stored, changes), blocks)
    keys = {"attention": "attention_bias", "mlp": "mlp_bias"}
    wanted = {keys[role] for role, _ in lacking if hasattr(config, keys.get(role, ""))}
    changes |= dict.fromkeys(sorted(wanted), True)
    if lacking := _lacking_biases(model_of(config, stored, changes), blocks):
        raise NotApplicable(f"{config.model_type} models have no bias at {lacking[0][1]}")
    return changes


def _sizes(config: PreTrainedConfig, blocks: list[BlockParts]) -> dict:
    """Keys with larger head counts and MLP width, if the config's are too small for a block."""
    changes, attention = {}, [block for block in blocks if block.has_attention]
    if attention:
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        most = max(block.kv_heads for block in attention)
        group = max(block.heads // block.kv_heads for block in attention)
        if most > kv_heads or group > heads // kv_heads:
            changes["num_attention_heads"] = most * group
            changes["num_key_value_heads"] = most
            changes["head_dim"] = attention[0].head_width
    width = max((block.intermediate for block in blocks if block.has_mlp), default=0)
    for key in INTERMEDIATE:
        if width > getattr(config, key, width):
            changes[key] = width
    return changes


def model_of(config: PreTrainedConfig, stored: dict, changes: dict) -> PreTrainedModel:
    """Model without weights, of the config with `changes`."""
    content = type(config).from_dict({**stored, **changes})
    return empty_model.from_config(content, torch.float32)


def _lacking_biases(model: PreTrainedModel, blocks: nn.ModuleList) -> list[tuple[str, str]]:
    """Biases of the blocks that the model lacks: pairs of "attention", "mlp" or "", and a name."""
    lacking = []
    for index, (target, source) in enumerate(
        zip(empty_model.decoder_blocks(model)[1], blocks, strict=True)
    ):
        roles = Roles.of(target, source)
        for name, linear in linears(target).items():
            if linear.bias is None and roles.bias(name) is not None:
                lacking.append((roles.side(name), f"{name} of block {index}"))
    return lacking


def check_norms(model: nn.Module, source: nn.Module, place: str) -> None:
    """Raises NotApplicable if a norm of `source` computes something else than that of `model`.

    A norm that the source lacks is no error: it belongs to a part that the source lacks too.
    """
    found = dict(norms(source))
    for name, norm in norms(model):
        if name not in found:
            continue
        expected, other = shaped.norm_of(norm), shaped.norm_of(found[name])
        plain_rms = type(norm).__name__.endswith("RMSNorm") and "Gemma" not in type(norm).__name__
        same_kind = expected.kind == other.kind or plain_rms
        if not same_kind or (expected.width, expected.eps) != (other.width, other.eps):
            raise NotApplicable(
                f"the norm {name} of {place} is another one than in an ordinary model (of width "
                f"{other.width} and epsilon {other.eps:g})"
            )


@dataclass(frozen=True)
class Roles:
    """The linears of an ordinary block, matched with those of a block of other shapes.

    `rows` and `columns` are, by a linear's name, the places of its rows and columns in the ordinary
    linear's weight.
    """

    source: nn.Module
    known: dict[str, nn.Module]
    rows: dict[str, torch.Tensor]
    columns: dict[str, torch.Tensor]
    sides: dict[str, str]
    constants: dict[str, torch.Tensor]

    @classmethod
    def of(cls, target: nn.Module, source: nn.Module) -> "Roles":
        """Roles of the linears of the ordinary block `target`."""
        rows, columns, sides, constants = {}, {}, {}, {}
        if type(target).__name__ in LAYOUTS:
            parts, other = BlockParts(target), BlockParts(source)
            names = {id(linear): name for name, linear in linears(target).items()}
            _attention(parts, other, names, rows, columns, constants)
            _mlp(parts, other, names, rows, columns, constants)
            attention = {id(module) for module in parts.attention.modules()}
            sides = {
                name: "attention" if key in attention else "mlp" for key, name in names.items()
            }
        return cls(source, matrices(source), rows, columns, sides, constants)

    def side(self, name: str) -> str:
        """Part that a linear belongs to: attention or mlp, "" where that is not known."""
        return self.sides.get(name, "")

    def bias(self, name: str) -> torch.Tensor | None:
        """Bias of a linear, or the constant that replaces the removed part whose last linear it was."""
        linear = self.known.get(name)
        if linear is None:
            return self.constants.get(name)
        return (linear[-1] if isinstance(linear, nn.Sequential) else linear).bias

    def weight(self, name: str, linear: nn.Linear) -> torch.Tensor:
        """Weight for the ordinary linear `linear`, with zeros where the source has nothing."""
        weight = self._empty(*linear.weight.shape)
        if name not in self.known:
            return weight
        found = _product(self.known[name])
        rows, columns = self._places(name, found.shape)
        weight[rows[:, None], columns] = found.to(weight)
        return weight

    def full_bias(self, name: str, linear: nn.Linear) -> torch.Tensor | None:
        """Bias for the ordinary linear, with zeros where the source has nothing."""
        if linear.bias is None:
            return None
        bias, found = self._empty(linear.out_features), self.bias(name)
        if found is not None:
            bias[self._places(name, (len(found), 0))[0]] = found.to(bias)
        return bias

    def _places(self, name: str, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.rows.get(name, torch.arange(shape[0]))
        return rows, self.columns.get(name, torch.arange(shape[1]))

    def _empty(self, *shape: int) -> torch.Tensor:
        parameter = next(self.source.parameters(), None)
        device = "cpu" if parameter is None else parameter.device
        return torch.zeros(shape, dtype=torch.float64, device=device)


def _product(linear: nn.Module) -> torch.Tensor:
    """Weight [rows, columns] of a linear or of two factors, in float64."""
    if isinstance(linear, nn.Sequential):
        return linear[1].weight.double() @ linear[0].weight.double()
    return linear.weight.double()


def _attention(
    parts: BlockParts, other: BlockParts, names: dict, rows: dict, columns: dict, constants: dict
) -> None:
    """Notes the places of heads: key and value heads keep their indices, each with its query heads.

    A group with fewer query heads than the ordinary block's fills the first places of the group.
    """
    output = names[id(parts.attention_output)]
    if not other.has_attention:
        _note_constant(other.attention, parts.attention_norms[1], output, constants)
        return
    group, found = parts.heads // parts.kv_heads, other.heads // other.kv_heads
    kv_heads = torch.arange(other.kv_heads)
    heads = (kv_heads[:, None] * group + torch.arange(found)).flatten()
    channels = torch.arange(parts.head_width)
    queries, keys = (
        (h[:, None] * parts.head_width + channels).flatten() for h in (heads, kv_heads)
    )
    rows[names[id(parts.queries)]] = columns[output] = queries
    rows[names[id(parts.keys)]] = rows[names[id(parts.values)]] = keys


def _mlp(
    parts: BlockParts, other: BlockParts, names: dict, rows: dict, columns: dict, constants: dict
) -> None:
    output = names[id(parts.mlp_output)]
    if not other.has_mlp:
        owner = other.mlp_owner
        absent = owner if other.layout.mlp else getattr(owner, other.layout.mlp_output)
        _note_constant(absent, parts.mlp_norms[1], output, constants)
        return
    neurons = columns[output] = torch.arange(other.intermediate)
    rows.update({names[id(linear)]: neurons for linear in parts.mlp_inputs})


def _note_constant(absent: Absent, behind: nn.Module, output: str, constants: dict) -> None:
    """Notes the constant of a removed part, which can become the bias of the part's last linear."""
    constant = getattr(absent, "bias", None)
    if constant is None:
        return
    if not isinstance(behind, nn.Identity):
        raise NotApplicable(f"a norm stands behind {output}, in whose place a constant is added")
    constants[output] = constant


def ordinary_tensors(target: nn.Module, source: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters of the ordinary block, by name, that compute what the source block does."""
    roles, tensors, held = Roles.of(target, source), {}, dict(source.named_parameters())
    for name, linear in linears(target).items():
        tensors[f"{name}.weight"] = roles.weight(name, linear)
        if (bias := roles.full_bias(name, linear)) is not None:
            tensors[f"{name}.bias"] = bias
    for name, parameter in target.named_parameters():
        if name not in tensors:
            # A missing parameter is that of a removed part's norm, or of a norm without weights.
            fill = torch.zeros if name.endswith("bias") else torch.ones
            tensors[name] = held[name] if name in held else fill(parameter.shape)
    return tensors


def check_block(target: nn.Module, source: nn.Module, index: int) -> None:
    """Raises NotApplicable if, by its shapes, no ordinary block can hold the source block."""
    place = f"block {index}"
    if added := [n for n, _ in source.named_parameters() if n.endswith(ADDED)]:
        raise NotApplicable(
            f"{place} sends the residual stream through matrices ({added[0]}), which no ordinary "
            "architecture has"
        )
    for name in matrices(source):
        if name not in linears(target):
            raise NotApplicable(f"{name} of {place} has no counterpart in an ordinary model")
    width = BlockParts(source).width if type(source).__name__ in LAYOUTS else None
    expected = BlockParts(target).width if width is not None else None
    if width != expected:
        raise NotApplicable(
            f"the residual stream of {place} is {width} wide and the config's {expected}"
        )
    if missing := dict(norms(target)).keys() - dict(norms(source)).keys() - _spared(source):
        raise NotApplicable(f"{place} has no norm {min(missing)}, which an ordinary model has")
    check_norms(target, source, place)


def _spared(source: nn.Module) -> set[str]:
    """Names of the norms that were removed together with a block's parts."""
    if type(source).__name__ not in LAYOUTS:
        return set()
    parts = BlockParts(source)
    attention = {*parts.layout.attention_norms, "self_attn.q_norm", "self_attn.k_norm"}
    mlp = set(parts.layout.mlp_norms)
    return (set() if parts.has_attention else attention) | (set() if parts.has_mlp else mlp)
