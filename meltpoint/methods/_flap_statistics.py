"""FLAP's statistics for selecting heads and neurons, from one pass through the dense blocks."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods._units import input_name, outputs_of, units_of
from meltpoint.methods.contract import Context, Tensor

block_walk = LazyModule("meltpoint.model.block_walk")
empty_model = LazyModule("meltpoint.model.empty_model")
io = LazyModule("meltpoint.checkpoints.io")
parts_of = LazyModule("meltpoint.model.block_parts")


def collect(source: Path, context: Context, aliased_mean: bool) -> dict[str, Any]:
    """Units of each block and statistics of its outputs' columns, as arrays by name."""
    compute = context.compute
    reader = io.Reader(source, compute.torch_dtype, compute.torch_device)
    walk = block_walk.Walk(reader, context.windows, compute)
    found: dict[str, Any] = {"units": [], "expanded_units": []}
    with torch.no_grad():
        walk.embed()
        for index in context.progress(range(len(walk.blocks)), "flap: blocks"):
            empty_model.fill(walk.model, reader.read(walk.names(index)))
            found["units"].append(asdict(units_of(walk.blocks[index])))
            found["expanded_units"].append(asdict(units_of(walk.blocks[index], expand_kv=True)))
            for kind, arrays in _measure(walk, index, aliased_mean).items():
                found |= {f"{index}.{kind}.{name}": array for name, array in arrays.items()}
            empty_model.empty(walk.model, walk.names(index))
    return found


def _measure(walk: "block_walk.Walk", index: int, aliased: bool) -> dict[str, dict[str, Tensor]]:
    """Statistics of the columns of a block's outputs, by "attention" and "mlp"."""
    module = walk.blocks[index]
    outputs = outputs_of(module)
    inputs = {kind: input_name(module, linear) for kind, linear in outputs.items()}
    fluctuation = "fluctuation_aliased" if aliased else "fluctuation"
    linears = {name: module.get_submodule(name) for name in inputs.values()}
    statistics = walk.collect(index, (fluctuation, "mean", "norm"), linears, advance=True)
    found = {}
    for kind, linear in outputs.items():
        weight, moments = parts_of.weight_of(linear).float(), statistics[inputs[kind]]
        found[kind] = {
            "fluctuation": getattr(moments, fluctuation),
            "mean": moments.mean,
            "norm": moments.norm,
            "weight_square": weight.square().sum(dim=0),
            "weight_mean": weight.abs().mean(dim=0),
        }
    return found
