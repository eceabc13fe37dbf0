"""What a GGUF file weighs, counted in the file."""

from pathlib import Path

import gguf
import numpy as np

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import GGUF
from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.stored_tensor import Tensor, bits_per_weight, counts
from meltpoint.llamacpp.file import read, tensor_names, value

# Numbers that are decoded at once to count zeros among them.
CHUNK = 1 << 24


def size(folder: Path) -> dict[str, float]:
    """Parameters, those that are not zero, bits per weight (of the decoder's linears too), and bytes.

    A weight of the decoder's linears costs what `meltpoint.evaluations.size.size` says, of all others
    what is stored. How many of the linears' weights are zero is known from the checkpoint's
    description; the rest is decoded and counted. Raises MeltpointError for a file that is missing or
    broken.
    """
    file = folder / GGUF
    reader = read(file)
    layers = _layers(folder, reader)
    tensors = {t.name: _count(t, layers.get(t.name)) for t in reader.tensors}
    return {
        **counts(tensors.values()),
        "decoder_bits_per_weight": bits_per_weight(tensors[name] for name in layers),
        "bytes": file.stat().st_size,
    }


def _layers(folder: Path, reader: gguf.GGUFReader) -> dict[str, Linear]:
    """What is known of the decoder's linears, by the names of their tensors in the file."""
    description = Description.of(folder)
    if description is None:
        return {}
    architecture, blocks = (
        value(reader, "general.architecture"),
        value(reader, "{arch}.block_count"),
    )
    names = tensor_names(architecture, blocks)
    return {
        names.get_name(f"{name}.weight", (".weight",)): linear
        for name, linear in description.linears.items()
    }


def _count(tensor: gguf.ReaderTensor, layer: Linear | None) -> Tensor:
    count, stored = int(tensor.n_elements), 8 * int(tensor.n_bytes)
    if layer is None:
        return Tensor(count, count - _zeros(tensor), stored, code=0, pruned=0, scales=stored)
    plain = gguf.GGML_QUANT_SIZES[tensor.tensor_type][0] == 1
    code = stored // count if plain else layer.stored.bits
    pruned = layer.zeros - layer.zeros_rounded
    return Tensor(count, count - layer.zeros, stored, code, pruned, stored - count * code)


def _zeros(tensor: gguf.ReaderTensor) -> int:
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, CHUNK // int(tensor.shape[0]))
    parts = (rows[start : start + step] for start in range(0, len(rows), step))
    return sum(
        int(np.count_nonzero(gguf.dequantize(part, tensor.tensor_type) == 0)) for part in parts
    )
