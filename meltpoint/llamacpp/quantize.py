"""llama.cpp's own quantization of a GGUF file, called in the process."""

import ctypes
from pathlib import Path

import numpy as np
import torch

from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.llamacpp.library import complaint, llama_cpp
from meltpoint.model import empty_model
from meltpoint.timing import timed

# Number of columns of a block in a scheme's main type; widths must be multiples of it.
BLOCKS = {"q8_0": 32, "q4_0": 32}
LARGE_BLOCK = 256
# For each type: bits of a code, number of weights that share a scale, and true without a minimum.
GROUPS = {
    "Q8_0": (8, 32, True), "Q4_0": (4, 32, True), "Q4_1": (4, 32, False),
    "Q5_0": (5, 32, True), "Q5_1": (5, 32, False),
    "Q2_K": (2, 16, False), "Q3_K": (3, 16, True), "Q4_K": (4, 32, False),
    "Q5_K": (5, 32, False), "Q6_K": (6, 16, True),
    "IQ1_M": (1, 16, True), "IQ2_XXS": (2, 32, True), "IQ2_XS": (2, 16, True),
    "IQ2_S": (2, 16, True), "IQ3_XXS": (3, 32, True), "IQ3_S": (3, 32, True),
    "IQ4_NL": (4, 32, True), "IQ4_XS": (4, 32, True),
}  # fmt: skip


def check_widths(source: Path, scheme: str) -> None:
    """Raises NotApplicable if a linear's input width is not a multiple of the scheme's block.

    llama.cpp itself would store such a linear in another type, and mention it only in its log.
    """
    block = 1 if scheme == "f16" else BLOCKS.get(scheme, LARGE_BLOCK)
    name, blocks = empty_model.decoder_blocks(empty_model.build(source, torch.float32))
    for index, module in enumerate(blocks):
        for linear, layer in empty_model.linears(module).items():
            if layer.in_features % block:
                raise NotApplicable(
                    f"{scheme} needs input widths that are multiples of {block}; "
                    f"{name}.{index}.{linear} has {layer.in_features} (fallback=true stores such "
                    "linears in the types that llama.cpp falls back to)"
                )


@timed("save")
def quantize(
    source: Path, target: Path, scheme: str, threads: int, importance: dict[str, np.ndarray] | None
) -> None:
    """Writes a 16-bit GGUF file in a scheme's mixture of types.

    importance: weights of columns by the tensor's name, float32 [columns]. Raises MeltpointError, with
    llama.cpp's reason, if the quantization fails.
    """
    library = llama_cpp()
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{scheme.upper()}")
    parameters.nthread = threads
    if importance is not None:
        parameters.imatrix = _array(library, importance)
    if library.llama_model_quantize(str(source).encode(), str(target).encode(), parameters):
        raise MeltpointError(f"llama.cpp cannot quantise {source} to {scheme}: {complaint()}")


def _array(library, importance: dict[str, np.ndarray]):
    """The importances as llama.cpp's array of names and numbers; an entry without a name ends it."""
    array = (library.llama_model_imatrix_data * (len(importance) + 1))()
    for entry, (name, columns) in zip(array, importance.items(), strict=False):
        pointer = columns.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.name, entry.data, entry.size = name.encode(), pointer, len(columns)
    return array
