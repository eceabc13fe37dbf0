"""Size: what a checkpoint weighs, counted in its files without torch.

`parameters` and `nonzeros` count weights. `bits_per_weight` is what a weight costs on average when
each tensor is stored in the cheaper of two ways: as it is (a quantised one as its codes, scales and
zero points), or without its pruned weights and with a mask of one bit a weight.
`decoder_bits_per_weight` is the same for the decoder's linears alone, as papers quote it. `bytes`
is the size of the weight files on disk. If quantised weights are stored as plain numbers, it is
reduced by what their codes would save. All are exact counts, so they have no error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from meltpoint.checkpoints.adapter import FOLDER as ADAPTER
from meltpoint.checkpoints.adapter import WEIGHTS as ADAPTER_WEIGHTS
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import holds_gguf, quantization_config
from meltpoint.checkpoints.index import header, prefixes_of, spellings, tensors_of
from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.stored_tensor import Tensor, bits_per_weight, counts
from meltpoint.evaluations.contract import (
    Estimate,
    EvaluationSettings,
    Inputs,
    Measurement,
    ScoreSpec,
)
from meltpoint.lazy_import import numpy as np
from meltpoint.resources import Resources

example = {"size": "weights"}
opens_engine = False
computes = False
compute = ()
# The memory is small, as one part of a file is read at a time.
resources = Resources(memory=0.1)
scores = (
    ScoreSpec("bits_per_weight", "bits", "lower", "bits per weight"),
    ScoreSpec("decoder_bits_per_weight", "bits", "lower", "bits per decoder weight"),
    ScoreSpec("parameters", "weights", "lower", "parameters", "weights"),
    ScoreSpec("nonzeros", "weights", "lower", "nonzero weights", "weights"),
    ScoreSpec("bytes", "bytes", "lower", "size", "bytes"),
)
old_values = {
    name: {"size": "weights", "main": name}
    for name in ("bits_per_weight", "parameters", "nonzeros", "bytes")
}

# Masks, by width in bytes, of all bits but the sign: a number is zero if and only if these bits are. A
# number of one byte has no sign bit here.
MAGNITUDE = {1: 0xFF, 2: 0x7FFF, 4: 0x7FFFFFFF, 8: 0x7FFFFFFFFFFFFFFF}
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
          "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip
CHUNK = 1 << 24


class Settings(EvaluationSettings):
    """What the checkpoint weighs: bits of a weight, numbers of weights, bytes."""

    size: Literal["weights"] = Field(description="What is weighed: the checkpoint's `weights`.")


def measure(_engine: None, inputs: Inputs, _settings: Settings) -> Measurement:
    """Counts of a checkpoint's weights, bits and bytes."""
    counts = size(inputs.checkpoint)
    left_out = Description.read(inputs.checkpoint).unused
    protocol = {"not_counted": left_out} if left_out else {}
    return Measurement({n: Estimate(value) for n, value in counts.items()}, protocol=protocol)


def size(folder: Path) -> dict[str, float]:
    """Counts by the names of `scores`, exact.

    Raises MeltpointError for a checkpoint whose files are missing or truncated.
    """
    if holds_gguf(folder):
        from meltpoint.llamacpp.size import size as size_of_gguf

        return size_of_gguf(folder)
    stored = tensors_of(folder)
    files = [folder / name for name in sorted({file for file, _ in stored.values()})]
    description = Description.of(folder) or Description()
    layers, unused = description.linears, set(description.unused)
    packed = layers if quantization_config(folder) is not None else {}
    plain = {
        name: tensor
        for name, tensor in stored.items()
        if name not in unused and _linear_of(name, packed) is None
    }
    shared = _stored_together(description.stored_as)
    keys = {key for found in shared.values() for key in found}
    plain = {name: tensor for name, tensor in plain.items() if name not in keys}
    linears = _linears(stored, layers, description.stored_as)
    tensors = dict(item for file in files for item in _tensors(file, plain, linears, layers))
    tensors |= _packed(stored, packed)
    tensors |= {name: _part(layers[name], stored[key]) for name, (key, *_) in shared.items()}
    adapter = folder / ADAPTER / ADAPTER_WEIGHTS
    names = [*layers]
    if description.adapter:
        beside_weights = dict(_adapter(adapter))
        tensors |= beside_weights
        names += beside_weights
        files.append(adapter)
        stored |= {key: (adapter.name, tensor) for key, tensor in header(adapter).items()}
    counted = set(stored) - unused
    beside = sum(_bytes(file, counted, stored) for file in files)
    spared = sum(tensor.stored - tensor.packed for tensor in tensors.values())
    return {
        **counts(tensors.values()),
        "decoder_bits_per_weight": bits_per_weight(tensors[name] for name in names),
        "bytes": sum(file.stat().st_size for file in files) - spared // 8 - beside,
    }


def _adapter(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Counts of an adapter's matrices by name; they are plain numbers, and all count as nonzero."""
    for name, tensor in header(path).items():
        width, (start, end) = 8 * WIDTHS[tensor["dtype"]], tensor["data_offsets"]
        count = 8 * (end - start) // width
        yield name, _count(tensor["shape"], count, count, width, None)


def _bytes(path: Path, counted: set[str], stored: dict[str, tuple[str, dict]]) -> int:
    """Bytes of a file's tensors that the model does not use or reads from another file."""
    sizes = {
        name: tensor["data_offsets"][1] - tensor["data_offsets"][0]
        for name, tensor in header(path).items()
        if name not in counted or stored[name][0] != path.name
    }
    return sum(sizes.values())


def _stored_together(stored_as: dict[str, list[str]]) -> dict[str, list[str]]:
    """Linears without a stored tensor of their own, with the keys of the tensors that hold them."""
    users = Counter(key for keys in stored_as.values() for key in keys)
    return {n: keys for n, keys in stored_as.items() if len(keys) > 1 or users[keys[0]] > 1}


def _part(layer: Linear, stored: tuple[str, dict]) -> Tensor:
    """Counts of a linear that is part of a stored tensor, taken from the checkpoint's description."""
    width = 8 * WIDTHS[stored[1]["dtype"]]
    return _count(list(layer.shape), layer.count, layer.count - layer.zeros, width, layer)


def _linears(
    stored: dict[str, tuple[str, dict]], layers: dict, stored_as: dict[str, list[str]]
) -> dict[str, str]:
    """Names of linears in the model, by the keys under which their weights are stored."""
    prefixes = prefixes_of(stored)
    keys = {
        linear: stored_as.get(linear) or spellings(f"{linear}.weight", prefixes)
        for linear in layers
    }
    return {key: linear for linear, names in keys.items() for key in names if key in stored}


def _tensors(
    path: Path, plain: dict[str, tuple[str, dict]], linears: dict[str, str], layers: dict
) -> Iterator[tuple[str, Tensor]]:
    """Counts of the plain tensors that the model reads from a file, by name."""
    with path.open("rb") as file:
        data = 8 + int.from_bytes(file.read(8), "little")
    for name, (file, tensor) in plain.items():
        if file != path.name:
            continue
        width, (start, end) = WIDTHS[tensor["dtype"]], tensor["data_offsets"]
        count = (end - start) // width
        nonzeros = _nonzeros(path, data + start, count, width)
        linear = linears.get(name, name)
        yield linear, _count(tensor["shape"], count, nonzeros, 8 * width, layers.get(linear))


def _packed(
    stored: dict[str, tuple[str, dict]], layers: dict[str, Linear]
) -> Iterator[tuple[str, Tensor]]:
    """Counts of the linears that a library has packed, over all stored tensors of each."""
    bits = dict.fromkeys(layers, 0)
    for name, (_, tensor) in stored.items() if layers else ():
        if linear := _linear_of(name, layers):
            start, end = tensor["data_offsets"]
            bits[linear] += 8 * (end - start)
    for linear, layer in layers.items():
        count, code = layer.count, layer.stored.bits
        pruned = layer.zeros - layer.zeros_rounded
        scales = bits[linear] - count * code
        yield linear, Tensor(count, count - layer.zeros, bits[linear], code, pruned, scales)


def _linear_of(name: str, packed: dict[str, Linear]) -> str | None:
    """Name of the packed linear that a stored tensor belongs to; None for a bias and other tensors."""
    parts = name.split(".")
    heads = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return None if parts[-1] == "bias" else next((h for h in heads if h in packed), None)


def _count(shape: list[int], count: int, nonzeros: int, width: int, layer: Linear | None) -> Tensor:
    bits = count * width
    if layer is None or layer.stored is None:
        return Tensor(count, nonzeros, bits, width, count - nonzeros, 0)
    stored = layer.stored
    # A zero that rounding made is a code like any other, and was not pruned.
    pruned = count - nonzeros - layer.zeros_rounded
    masked = pruned > 0 and not stored.holds_zero
    return Tensor(count, nonzeros, bits, stored.bits, pruned, stored.overhead(*shape), masked)


def _nonzeros(path: Path, offset: int, count: int, width: int) -> int:
    kind, mask = np.dtype(f"<u{width}"), MAGNITUDE[width]
    found = 0
    for start in range(0, count, CHUNK):
        part = np.fromfile(
            path, kind, count=min(CHUNK, count - start), offset=offset + start * width
        )
        found += int(np.count_nonzero(part & mask))
    return found
