"""Shapes of a model: reads them from its blocks, and applies them to a model without weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from meltpoint.checkpoints.shapes import BlockShape, LinearShape, Norm, Shapes
from meltpoint.model.block_parts import LAYOUTS, Absent, BlockParts, linears, norms
from meltpoint.model.surgery import (
    PROJECTIONS,
    SHORTCUTS,
    linear_of,
    remove_attention,
    remove_mlp,
    set_parameter,
    set_projection,
    set_shortcuts,
    sync_heads,
)


def shapes_of(model: nn.Module, path: str, blocks: Iterable[nn.Module]) -> Shapes:
    """Shapes of a model; `blocks` are the decoder's and `path` their name in the model."""
    parameters = model.named_parameters()
    others = {n: tuple(p.shape) for n, p in parameters if not n.startswith(f"{path}.")}
    return Shapes(
        blocks=[shape_of(block) for block in blocks],
        others=others,
        norms=outer_norms(model, path),
    )


def outer_norms(model: nn.Module, path: str) -> dict[str, Norm]:
    """The norms outside of the blocks, by name; `path` is the blocks' name in the model."""
    return {n: norm_of(m) for n, m in norms(model) if not n.startswith(f"{path}.")}


def shape_of(block: nn.Module) -> BlockShape:
    """Shape of a block, read from its modules and weights."""
    facts = {
        "shortcuts": _matrices(block, SHORTCUTS),
        "projections": _matrices(block, PROJECTIONS),
        "norms": {name: norm_of(module) for name, module in norms(block)},
        "linears": {
            name: LinearShape(rows=x.out_features, columns=x.in_features, bias=x.bias is not None)
            for name, x in linears(block).items()
        },
        "parameters": sum(parameter.numel() for parameter in block.parameters()),
    }
    if type(block).__name__ in LAYOUTS:
        facts |= _parts_of(BlockParts(block))
    return BlockShape(**facts)


def _matrices(block: nn.Module, names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Shapes of a block's matrices of these names, by the part that they belong to."""
    return {
        name.partition("_")[0]: tuple(matrix.shape)
        for name in names
        if (matrix := getattr(block, name, None)) is not None
    }


def _parts_of(parts: BlockParts) -> dict[str, Any]:
    facts: dict[str, Any] = {"width": parts.width}
    if parts.has_attention:
        facts |= {
            "heads": parts.heads,
            "kv_heads": parts.kv_heads,
            "head_width": parts.head_width,
        }
    facts |= {"intermediate": parts.intermediate} if parts.has_mlp else {}
    absent = {"attention": parts.attention, "mlp": parts.absent_mlp}
    constants = {
        name: len(part.bias)
        for name, part in absent.items()
        if isinstance(part, Absent) and part.bias is not None
    }
    return facts | {"constants": constants}


def norm_of(module: nn.Module) -> Norm:
    """Kind, width and epsilon of a normalisation layer."""
    kind = "rms" if isinstance(module, nn.RMSNorm) else "own"
    affine = getattr(module, "weight", None) is not None
    # Some norms without weights do not store their width.
    width = module.weight.shape[0] if affine else getattr(module, "normalized_shape", (0,))[0]
    eps = getattr(module, eps_name(module), 0.0)
    return Norm(kind=kind, width=width, eps=eps, affine=affine)


def eps_name(norm: nn.Module) -> str:
    """Name of the attribute that holds a normalisation layer's epsilon."""
    return "variance_epsilon" if hasattr(norm, "variance_epsilon") else "eps"


def apply(model: nn.Module, blocks: Iterable[nn.Module], shapes: Shapes) -> None:
    """Gives a model without weights the shapes of a checkpoint; `blocks` are the decoder's."""
    for block, shape in zip(blocks, shapes.blocks, strict=True):
        _shape_block(block, shape)
    for name, shape in shapes.others.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        parameter = module._parameters.get(leaf)
        if parameter is None or parameter.shape != shape:
            set_parameter(module, leaf, next(model.parameters()).new_empty(shape, device="meta"))
    for name, norm in shapes.norms.items():
        _shape_norm(model, name, norm)


def _shape_block(block: nn.Module, shape: BlockShape) -> None:
    known, dtype = type(block).__name__ in LAYOUTS, next(block.parameters()).dtype
    # The norms that the shape has stay, also where attention or MLP is gone.
    for name, _ in list(norms(block)):
        if name in shape.norms:
            _shape_norm(block, name, shape.norms[name])
    constants = {name: _meta((width,), dtype) for name, width in shape.constants.items()}
    if known and shape.heads is None:
        remove_attention(block, constants.get("attention"), keep_norms=True)
    if known and shape.intermediate is None:
        remove_mlp(block, constants.get("mlp"), keep_norms=True)
    for name, _ in list(norms(block)):
        if name not in shape.norms:
            block.set_submodule(name, nn.Identity())
    for name, linear in linears(block).items():
        _shape_linear(block, name, linear, shape.linears)
    if shape.shortcuts:
        set_shortcuts(block, **{n: _meta(size, dtype) for n, size in shape.shortcuts.items()})
    for name, size in shape.projections.items():
        set_projection(block, f"{name}_projection", _meta(size, dtype))
    if known:
        sync_heads(block)


def _meta(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _shape_linear(
    block: nn.Module, name: str, linear: nn.Linear, shapes: dict[str, LinearShape]
) -> None:
    names = [name] if name in shapes else [f"{name}.0", f"{name}.1"]
    weight = linear.weight
    parts = [
        linear_of(
            weight.new_empty(shape.rows, shape.columns),
            weight.new_empty(shape.rows) if shape.bias else None,
        )
        for shape in (shapes[key] for key in names if key in shapes)
    ]
    if len(parts) == 2:
        block.set_submodule(name, nn.Sequential(*parts))
    elif parts:
        set_parameter(linear, "weight", parts[0].weight)
        set_parameter(linear, "bias", parts[0].bias)


def _shape_norm(module: nn.Module, name: str, facts: Norm) -> None:
    norm = module.get_submodule(name)
    if facts.kind == "rms" and not isinstance(norm, nn.RMSNorm):
        dtype = next(module.parameters()).dtype
        norm = nn.RMSNorm(facts.width, facts.eps, facts.affine, device="meta", dtype=dtype)
        module.set_submodule(name, norm.requires_grad_(False))
        return
    setattr(norm, eps_name(norm), facts.eps)
    for leaf, parameter in list(norm._parameters.items()):
        if parameter is not None:
            set_parameter(norm, leaf, parameter.new_empty(facts.width))
