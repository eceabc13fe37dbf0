"""Changes to a decoder block's shapes, in place: building blocks of methods that change shapes.

A method's `compress_block` changes `block.module` with these functions, or by itself. The walk reads
the new shapes from the block afterwards. Index tensors, int64 in ascending order, name what is kept.
"""

from types import MethodType

import torch
from torch import nn

from meltpoint.errors import NotApplicable
from meltpoint.model.block_parts import Absent, BlockParts

SHORTCUTS = ("attention_shortcut", "mlp_shortcut")
PROJECTIONS = ("attention_projection", "mlp_projection")
# Attributes of attention modules that hold the number of heads, by architecture.
QUERY_HEADS = ("num_heads", "num_attention_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads")


def set_parameter(module: nn.Module, name: str, tensor: torch.Tensor | None) -> None:
    """Sets a parameter of any shape, and updates the sizes that the module states."""
    module._parameters[name] = None if tensor is None else nn.Parameter(tensor, requires_grad=False)
    if name != "weight" or tensor is None:
        return
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = tensor.shape
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = tensor.shape
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(tensor.shape)


def cut(
    linear: nn.Module, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None
) -> None:
    """Keeps these rows and columns of a linear, or of the product of two factors.

    None keeps all. The linear remembers the kept indices: they are needed to compare its zeros and grid
    with those of earlier steps.
    """
    if isinstance(linear, nn.Sequential):
        cut(linear[0], columns=columns)
        cut(linear[1], rows=rows)
        return
    weight = linear.weight
    kept = list(getattr(linear, "kept", (None, None)))
    for axis, index in enumerate((rows, columns)):
        if index is not None:
            index = index.to(weight.device)
            weight = weight.index_select(axis, index)
            kept[axis] = index if kept[axis] is None else kept[axis][index]
    set_parameter(linear, "weight", weight.contiguous())
    if rows is not None and linear.bias is not None:
        set_parameter(linear, "bias", linear.bias[rows])
    linear.kept = tuple(kept)


def set_bias(linear: nn.Module, bias: torch.Tensor | None) -> None:
    """Sets the bias [rows] of a linear, or of the second of two factors; None removes it."""
    set_parameter(linear[-1] if isinstance(linear, nn.Sequential) else linear, "bias", bias)


def factorise(block: nn.Module, name: str, first: torch.Tensor, second: torch.Tensor) -> None:
    """Replaces the linear `name`, or its factors, by two: x -> second (first x) with its own bias.

    `first` is [rank, columns], `second` [rows, rank].
    """
    linear = block.get_submodule(name)
    bias = (linear[-1] if isinstance(linear, nn.Sequential) else linear).bias
    parts = linear_of(first), linear_of(second, bias)
    block.set_submodule(name, nn.Sequential(*parts))


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    """A linear with this weight [rows, columns] and bias."""
    linear = nn.Linear(*reversed(weight.shape), bias=bias is not None, device="meta")
    set_parameter(linear, "weight", weight)
    set_parameter(linear, "bias", bias)
    return linear


def keep_heads(block: nn.Module, kv_heads: torch.Tensor) -> None:
    """Keeps these key and value heads, each with its group of query heads."""
    parts = BlockParts(block)
    group = parts.heads // parts.kv_heads
    kv_heads = kv_heads.to(torch.long)
    heads = (kv_heads[:, None] * group + torch.arange(group, device=kv_heads.device)).flatten()
    rows, kv_rows = (spread(kept, parts.head_width) for kept in (heads, kv_heads))
    cut(parts.queries, rows=rows)
    cut(parts.keys, rows=kv_rows)
    cut(parts.values, rows=kv_rows)
    cut(parts.attention_output, columns=rows)
    sync_heads(block)


def expand_kv(block: nn.Module) -> None:
    """Gives each query head key and value heads of its own. The block's function does not change."""
    parts = BlockParts(block)
    heads = torch.arange(parts.kv_heads)
    channels = spread(heads.repeat_interleave(parts.heads // parts.kv_heads), parts.head_width)
    cut(parts.keys, rows=channels)
    cut(parts.values, rows=channels)
    sync_heads(block)


def spread(heads: torch.Tensor, width: int) -> torch.Tensor:
    """Indices, int64 [heads * width], of the channels of heads that are `width` wide."""
    return (heads[:, None] * width + torch.arange(width, device=heads.device)).flatten()


def keep_neurons(block: nn.Module, neurons: torch.Tensor) -> None:
    """Keeps these neurons of the MLP."""
    parts = BlockParts(block)
    for linear in parts.mlp_inputs:
        cut(linear, rows=neurons)
    cut(parts.mlp_output, columns=neurons)


def remove_attention(
    block: nn.Module, constant: torch.Tensor | None = None, keep_norms: bool = False
) -> None:
    """Removes a block's attention and, unless `keep_norms`, its norms; the residual stream remains.

    `constant` [width] is added to the stream in the place of attention's output.
    """
    parts = BlockParts(block)
    block.self_attn = Absent(parts.attention.layer_idx, constant)
    if not keep_norms:
        _remove_norms(parts, parts.layout.attention_norms)


def remove_mlp(
    block: nn.Module, constant: torch.Tensor | None = None, keep_norms: bool = False
) -> None:
    """Removes a block's MLP and, unless `keep_norms`, its norms; the residual stream remains.

    `constant` [width] is added to the stream in the place of the MLP's output.
    """
    parts = BlockParts(block)
    if parts.layout.mlp:
        setattr(block, parts.layout.mlp, Absent(constant=constant))
    else:
        for name in parts.layout.mlp_inputs:
            setattr(block, name, nn.Identity())
        setattr(block, parts.layout.mlp_output, Absent(constant=constant))
    if not keep_norms:
        _remove_norms(parts, parts.layout.mlp_norms)


def remove_norms(block: nn.Module) -> None:
    """Removes the norms before the removed attention and MLP, which makes the block an identity."""
    parts = BlockParts(block)
    _remove_norms(parts, (*parts.layout.attention_norms, *parts.layout.mlp_norms))


def _remove_norms(parts: BlockParts, names: tuple[str | None, ...]) -> None:
    # Norms after the residual addition stay: they still normalise the stream.
    for name in names if parts.norms_lead else ():
        if name:
            setattr(parts.block, name, nn.Identity())


def sync_heads(block: nn.Module) -> None:
    """Updates the head counts that an attention module states to those of its weights."""
    parts = BlockParts(block)
    if not parts.has_attention:
        return
    counts = dict.fromkeys(QUERY_HEADS, parts.heads) | dict.fromkeys(KV_HEADS, parts.kv_heads)
    counts["num_key_value_groups"] = parts.heads // parts.kv_heads
    for name, count in counts.items():
        if hasattr(parts.attention, name):
            setattr(parts.attention, name, count)


def set_shortcuts(
    block: nn.Module, attention: torch.Tensor | None = None, mlp: torch.Tensor | None = None
) -> None:
    """Multiplies the residual stream by a matrix before attention's or the MLP's output is added.

    Both are [width before, width after]; None leaves the stream unchanged. Raises NotApplicable for a
    block that normalises after the addition.
    """
    if not BlockParts(block).norms_lead:
        raise NotApplicable(
            f"a {type(block).__name__} that normalises after the residual addition takes no "
            "shortcut matrices"
        )
    for name, matrix in zip(SHORTCUTS, (attention, mlp), strict=True):
        parameter = None if matrix is None else nn.Parameter(matrix, requires_grad=False)
        block.register_parameter(name, parameter)
    block.forward = MethodType(_forward_with_shortcuts, block)


def set_projection(block: nn.Module, name: str, matrix: torch.Tensor) -> None:
    """Multiplies the output of a norm after attention or MLP by a matrix before it is added.

    `name` is one of `PROJECTIONS`, the matrix is [width of the norm, width of the stream]. The block
    must have shortcuts.
    """
    block.register_parameter(name, nn.Parameter(matrix, requires_grad=False))


def end_after_attention(block: nn.Module) -> None:
    """Makes a block with shortcuts return the stream after attention; `set_shortcuts` undoes this."""
    block.forward = MethodType(_attention_half, block)


def _forward_with_shortcuts(block: nn.Module, hidden_states: torch.Tensor, **arguments):
    return mlp_half(block, _attention_half(block, hidden_states, **arguments))


def _attention_half(block: nn.Module, hidden_states: torch.Tensor, **arguments) -> torch.Tensor:
    parts = BlockParts(block)
    before, after = parts.attention_norms
    residual = _through(hidden_states, block.attention_shortcut)
    if not parts.has_attention:
        parts.attention(hidden_states, **arguments)
        return parts.attention.added_to(residual)
    output, _ = parts.attention(hidden_states=before(hidden_states), **arguments)
    return residual + _through(after(output), getattr(block, "attention_projection", None))


def mlp_half(block: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    """Outputs of a block with shortcuts, given the residual stream after its attention."""
    parts = BlockParts(block)
    residual = _through(hidden_states, block.mlp_shortcut)
    if not parts.has_mlp:
        return parts.absent_mlp.added_to(residual)
    before, after = parts.mlp_norms
    output = after(parts.mlp(before(hidden_states)))
    return residual + _through(output, getattr(block, "mlp_projection", None))


def _through(hidden: torch.Tensor, matrix: torch.Tensor | None) -> torch.Tensor:
    return hidden if matrix is None else hidden @ matrix
