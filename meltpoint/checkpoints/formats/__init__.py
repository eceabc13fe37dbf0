"""How checkpoints of the quantization libraries store their linears: a file for each format.

A checkpoint's `config.json` names its format (`quantization_config.quant_method`). The format's file
has, of a linear by its module's name:

``parts(linear, keys)``
    the stored tensors that make up its weight: a short name of each, and its key; none where the
    linear is stored plainly
``decode(parts, config)``
    its weight, float32 [rows, columns], from these tensors as they are stored
``grid(parts, config)``
    what it is stored as (`meltpoint.checkpoints.linears.Quantized`)
``inputs(config)``
    optional, for a format that quantises activations too: what happens to a linear's input
    [windows, tokens, columns] before it is multiplied, or None

None of them needs the library that wrote the checkpoint. `grid` and `decode` need torch, the rest of
this package does not. A GGUF file is no such format: llama.cpp alone runs it (`meltpoint.llamacpp`).
"""

import importlib
import json
from collections.abc import Callable, Container
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from meltpoint.errors import MeltpointError
from meltpoint.text import one_of

if TYPE_CHECKING:
    import torch

    from meltpoint.checkpoints.linears import Quantized

# Modules by the `quant_method` that the library writes into the config.
FILES = {
    "gptq": "gptq",
    "compressed-tensors": "compressed",
    "bitsandbytes": "bitsandbytes",
    "hqq": "hqq",
}
GGUF = "model.gguf"


def modules() -> tuple[str, ...]:
    """Names of the modules that `format_of` chooses from."""
    return tuple(f"{__name__}.{file}" for file in FILES.values())


class Format:
    """The format of one checkpoint: its file and the `quantization_config` it is read by."""

    def __init__(self, module: ModuleType, config: dict) -> None:
        self.module, self.config = module, config

    def parts(self, linear: str, keys: Container[str]) -> dict[str, str]:
        """Key of each tensor that stores a linear, by the name of the part."""
        return self.module.parts(linear, keys)

    def decode(self, parts: dict) -> "torch.Tensor":
        """Weight [rows, columns] of a linear, from its stored parts."""
        return self.module.decode(parts, self.config)

    def grid(self, parts: dict) -> "Quantized":
        """Bits, groups and scales that a linear's weight is stored in."""
        return self.module.grid(parts, self.config)

    def inputs(self) -> Callable | None:
        """Function that rounds a linear's inputs as the format does; None where it leaves them."""
        inputs = getattr(self.module, "inputs", None)
        return None if inputs is None else inputs(self.config)


def format_of(folder: Path) -> Format | None:
    """A checkpoint's format; None if its weights are stored plainly.

    Raises MeltpointError for an unknown format.
    """
    config = quantization_config(folder)
    if config is None:
        return None
    name = config.get("quant_method")
    if name not in FILES:
        raise MeltpointError(
            f"{folder}: its weights are quantised by {name!r}, and only those by {one_of(FILES)} can "
            "be read: use an unquantised checkpoint"
        )
    return Format(importlib.import_module(f"{__name__}.{FILES[name]}"), config)


def check_unquantised(folder: Path) -> None:
    """Raises MeltpointError for a base checkpoint that is quantised already."""
    config = quantization_config(folder)
    if config is not None:
        raise MeltpointError(
            f"{folder}: its weights are quantised already, by {config.get('quant_method')}: name the "
            "unquantised model, and quantise it as a step of a chain"
        )


def quantization_config(folder: Path) -> dict | None:
    """`quantization_config` of a checkpoint's config; None where there is none."""
    try:
        return json.loads((folder / "config.json").read_text()).get("quantization_config")
    except (OSError, ValueError):
        return None


def holds_gguf(folder: Path) -> bool:
    """True for a folder that holds a GGUF file."""
    return (folder / GGUF).exists()
