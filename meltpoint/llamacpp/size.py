"""Size of a GGUF file: parameters, nonzeros, bits and bytes, counted in the file."""

from pathlib import Path

import gguf
import numpy as np

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import GGUF
from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.stored_tensor import Tensor, bits_per_weight, counts
from meltpoint.llamacpp.file import read, tensor_names, value

# Number of weights that are decoded at a time to count zeros.
CHUNK = 1 << 24


def size(folder: Path) -> dict[str, float]:
    """Exact counts by the names of scores: parameters, nonzeros, bits per weight, and bytes.

    Bits per weight are also given for the decoder's linears alone. A weight of these costs as many bits
    as in `meltpoint.evaluations.size.size`, any other weight its stored bits. Zeros of the linears are
    known from the checkpoint's description; other tensors are decoded and counted. Raises
    MeltpointError for a file that is missing or broken.
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
    """Facts about the decoder's linears, by the names of their tensors in the file."""
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
