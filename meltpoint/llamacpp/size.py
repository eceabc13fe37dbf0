"""What a GGUF file weighs, counted in the file."""

from pathlib import Path

import gguf
import numpy as np

from meltpoint.formats import GGUF
from meltpoint.llamacpp.file import read
from meltpoint.weights import DESCRIPTION, describe

# Numbers that are decoded at once to count zeros among them.
CHUNK = 1 << 24


def size(folder: Path) -> dict[str, float]:
    """Parameters, those that are not zero, bits per weight of all tensors as stored, and bytes.

    How many of the decoder's linears' weights are zero is known from the checkpoint's description; the
    rest is decoded and counted. Raises MeltpointError for a file that is missing or broken.
    """
    file = folder / GGUF
    tensors = read(file).tensors
    layers = describe(folder).get("layers", {}) if (folder / DESCRIPTION).exists() else {}
    known = [tensor for tensor in tensors if layers and _is_linear(tensor)]
    zeros = sum(layer["zeros"] for layer in layers.values())
    zeros += sum(_zeros(tensor) for tensor in tensors if tensor not in known)
    parameters = sum(int(tensor.n_elements) for tensor in tensors)
    return {
        "parameters": parameters,
        "nonzeros": parameters - zeros,
        "bits_per_weight": 8 * sum(int(tensor.n_bytes) for tensor in tensors) / parameters,
        "bytes": file.stat().st_size,
    }


def _is_linear(tensor: gguf.ReaderTensor) -> bool:
    return tensor.name.startswith("blk.") and len(tensor.shape) > 1


def _zeros(tensor: gguf.ReaderTensor) -> int:
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, CHUNK // int(tensor.shape[0]))
    parts = (rows[start : start + step] for start in range(0, len(rows), step))
    return sum(
        int(np.count_nonzero(gguf.dequantize(part, tensor.tensor_type) == 0)) for part in parts
    )
