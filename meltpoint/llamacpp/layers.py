"""Facts about the linears of a checkpoint after conversion, read from the GGUF file."""

from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader
from meltpoint.checkpoints.linears import Linear, LinearBefore, Quantized, describe
from meltpoint.llamacpp.architecture import Names, architecture_of, heads_to_permute, unpermute
from meltpoint.llamacpp.file import read
from meltpoint.llamacpp.quantize import GROUPS
from meltpoint.model import empty_model
from meltpoint.model.stored_layout import follow

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def layers(source: Path, file: Path) -> dict[str, Linear]:
    """Facts about the decoder's linears as they are in the GGUF file, by name."""
    model = empty_model.build(source, torch.float32)
    names = Names(model.config, architecture_of(model.config))
    before = Reader(source, torch.float32, torch.device("cpu"))
    follow(before, model)
    tensors = {tensor.name: tensor for tensor in read(file).tensors}
    earlier = Description.read(source).linears
    prefix, blocks = empty_model.decoder_blocks(model)
    found = {}
    for index, block in enumerate(blocks):
        for linear in empty_model.linears(block):
            name = f"{prefix}.{index}.{linear}"
            key = f"{name}.weight"
            tensor = tensors[names[key]]
            state = LinearBefore(before.read([key])[key], earlier.get(name))
            found[name] = describe(decoded(tensor, key, model.config), state, grid(tensor))
    return found


def decoded(tensor: gguf.ReaderTensor, name: str, config: "PreTrainedConfig") -> torch.Tensor:
    """The model's parameter `name`, decoded from a file's tensor: float32, [rows, columns] or [rows].

    Raises NotImplementedError for a type that the gguf package cannot decode.
    """
    weight = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    heads = heads_to_permute(name, config, architecture_of(config))
    return unpermute(weight, heads) if heads else weight


def grid(tensor: gguf.ReaderTensor) -> Quantized | None:
    """Bits, groups and scales of a tensor's type; None for a tensor in 16 or 32 bits.

    The bits of scales, minima, signs and the rest are exact in sum, and counted as one scale a group.
    """
    kind = gguf.GGMLQuantizationType(tensor.tensor_type)
    if kind.name not in GROUPS:
        return None
    bits, group_size, symmetric = GROUPS[kind.name]
    columns, size = gguf.GGML_QUANT_SIZES[kind]
    overhead = (8 * size - bits * columns) * group_size // columns
    return Quantized(bits, group_size, symmetric, overhead - (0 if symmetric else bits))
