"""The plan of a training: trained linears, dtype and memory, before any weight is read."""

import math
from collections.abc import Mapping

import torch

from meltpoint.checkpoints.description import Description
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.memory import available_bytes, usable_bytes
from meltpoint.methods._lora_settings import Settings
from meltpoint.text import human_bytes, one_of

# Bytes of a trained number: the number, its gradient and AdamW's two moments, all in float32.
TRAINED = 16


def ranks_of(description: Description, settings: Settings) -> dict[str, int]:
    """The linears to train by name, each with the rank of its adapter (0 without adapters).

    Raises MeltpointError for targets that no linear has, and for a rank above all of their widths.
    """
    parts = {name: part_of(name) for name in description.linears}
    chosen = set(settings.targets.split("-"))
    known = list(dict.fromkeys(parts.values()))
    for target in sorted(chosen - {"all"}):
        if target not in known:
            raise MeltpointError(
                f"lora: targets: no linear of the decoder is called {target}: name some of "
                f"{one_of(known)}, joined by -"
            )
    names = [name for name, part in parts.items() if "all" in chosen or part in chosen]
    widths = {name: min(description.linears[name].shape) for name in names}
    if settings.rank > max(widths.values(), default=0):
        raise MeltpointError(
            f"lora: rank {settings.rank} is above the width of every linear that is trained, at most "
            f"{max(widths.values(), default=0)}: use a smaller rank, or rank=0 to train the weights"
        )
    return {name: min(settings.rank, width) for name, width in widths.items()}


def part_of(name: str) -> str:
    """Last part of a linear's name; that of the linear itself for one of its two factors."""
    *_, before, last = ("", *name.split("."))
    return before if last.isdigit() else last


def check_base(description: Description, settings: Settings) -> None:
    """Raises MeltpointError if an adapter is to be kept and the base cannot have one.

    That is a base without quantization grids, or with an adapter beside it already.
    """
    if settings.merge:
        return
    if description.adapter:
        raise MeltpointError(
            "lora: merge=false keeps one adapter, and the base has one beside it already: train once, "
            "or quantise again before"
        )
    if any(linear.stored for linear in description.linears.values()):
        return
    raise MeltpointError(
        "lora: merge=false keeps an adapter beside a quantised base, and this base is dense numbers: "
        "leave merge out, or quantise before"
    )


def held_dtype(settings: Settings, compute: Compute) -> torch.dtype:
    """Dtype in which the fixed weights are held.

    A study's float16 is used only on an accelerator, where losses are scaled.
    """
    if settings.bfloat16 or compute.dtype == "bfloat16":
        return torch.bfloat16
    half = compute.dtype == "float16" and compute.torch_device.type == "cuda"
    return torch.float16 if half else torch.float32


def check_memory(
    description: Description, ranks: Mapping[str, int], settings: Settings, compute: Compute
) -> None:
    """Raises MeltpointError if weights, gradients and moments exceed the memory.

    Activations are not counted: they depend on the number of windows that run together.
    """
    needed = needed_bytes(description, ranks, held_dtype(settings, compute).itemsize)
    device = compute.torch_device
    there = available_bytes(device) if compute.memory == "auto" else usable_bytes(compute)
    if needed <= there:
        return
    remedy = "train adapters with rank=8" if not settings.rank else "use bfloat16=true"
    raise MeltpointError(
        f"lora: rank={settings.rank} holds {human_bytes(needed)} of weights, gradients and moments, "
        f"and {human_bytes(there)} of memory are there: {remedy}, or use a larger machine"
    )


def needed_bytes(description: Description, ranks: Mapping[str, int], itemsize: int) -> int:
    """Bytes of all weights and of the trained numbers; `itemsize` is that of a fixed weight."""
    linears, shapes = description.linears, description.shapes
    total = shapes.parameters + sum(math.prod(shape) for shape in shapes.others.values())
    if any(ranks.values()):
        trained = sum(rank * sum(linears[name].shape) for name, rank in ranks.items())
        return total * itemsize + TRAINED * trained
    trained = sum(linears[name].count for name in ranks)
    return (total - trained) * itemsize + TRAINED * trained
