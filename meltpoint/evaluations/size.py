"""What a checkpoint weighs, counted in its files without torch."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import holds_gguf, quantization_config
from meltpoint.checkpoints.index import header, index
from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.stored_tensor import Tensor
from meltpoint.evaluations.cells import skipped, write_cell

UNITS = {
    "bits_per_weight": "bits",
    "parameters": "weights",
    "nonzeros": "weights",
    "bytes": "bytes",
}

# What a number of each width is with its sign bit out of the way: zero if and only if it is a zero.
MAGNITUDE = {1: np.uint8(0xFF), 2: np.uint16(0x7FFF), 4: np.uint32(0x7FFFFFFF),
             8: np.uint64(0x7FFFFFFFFFFFFFFF)}  # fmt: skip
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
          "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip
CHUNK = 1 << 24


def measure(checkpoint: Path, dense: Path, cell: Path, recipe: dict) -> None:
    """Writes a checkpoint's size cell: exact counts, so without an error."""
    start = time.perf_counter()
    if skipped(checkpoint, cell, recipe):
        return
    metric = recipe["protocol"]["size"]
    counts = size(checkpoint)
    write_cell(
        cell,
        checkpoint,
        recipe,
        start,
        metric=metric,
        unit=UNITS[metric],
        value=counts[metric],
        stderr=None,
        difference={"value": counts[metric] - size(dense)[metric], "stderr": None},
        counts=counts,
    )


def size(folder: Path) -> dict[str, float]:
    """What a checkpoint weighs.

    `parameters` and `nonzeros` count weights. `bits_per_weight` is what a weight costs on average when
    each tensor is stored in the cheaper of two ways: as it is, a quantised one as its codes, scales
    and zero points, or without its pruned weights and with a mask of one bit a weight. `bytes` are
    those of the weight files on disk, less what weights that are quantised in value alone would spare
    as codes. Raises MeltpointError for a checkpoint whose files are missing or truncated.
    """
    if holds_gguf(folder):
        from meltpoint.llamacpp.size import size as size_of_gguf

        return size_of_gguf(folder)
    files = [folder / name for name in sorted(set(index(folder).values()))]
    description = Description.of(folder) or Description()
    layers, unused = description.linears, set(description.unused)
    packed = layers if quantization_config(folder) is not None else {}
    tensors = [tensor for file in files for tensor in _tensors(file, layers, packed, unused)]
    tensors += _packed(files, packed)
    beside = sum(_bytes(header(file), unused) for file in files) if unused else 0
    parameters = sum(tensor.count for tensor in tensors)
    spared = sum(tensor.stored - tensor.packed for tensor in tensors)
    return {
        "parameters": parameters,
        "nonzeros": sum(tensor.nonzeros for tensor in tensors),
        "bits_per_weight": sum(tensor.bits for tensor in tensors) / parameters,
        "bytes": sum(file.stat().st_size for file in files) - spared // 8 - beside,
    }


def _bytes(tensors: dict[str, dict], names: set[str]) -> int:
    """What the named tensors of a file take."""
    offsets = (tensor["data_offsets"] for name, tensor in tensors.items() if name in names)
    return sum(end - start for start, end in offsets)


def _tensors(path: Path, layers: dict, packed: dict, unused: set[str]) -> Iterator[Tensor]:
    """What is stored plainly in a file, less what the model does not use."""
    tensors = header(path)
    with path.open("rb") as file:
        data = 8 + int.from_bytes(file.read(8), "little")
    for name, tensor in tensors.items():
        if name in unused or _linear_of(name, packed) is not None:
            continue
        width, (start, end) = WIDTHS[tensor["dtype"]], tensor["data_offsets"]
        count = (end - start) // width
        nonzeros = _nonzeros(path, data + start, count, width)
        layer = layers.get(name.removesuffix(".weight"))
        yield _count(tensor["shape"], count, nonzeros, 8 * width, layer)


def _packed(files: list[Path], layers: dict[str, Linear]) -> Iterator[Tensor]:
    """The linears that a library has packed, each with all that is stored of it."""
    bits = dict.fromkeys(layers, 0)
    for file in files if layers else ():
        for name, tensor in header(file).items():
            if linear := _linear_of(name, layers):
                start, end = tensor["data_offsets"]
                bits[linear] += 8 * (end - start)
    for linear, layer in layers.items():
        count, code = layer.count, layer.stored.bits
        pruned = layer.zeros - layer.zeros_rounded
        scales = bits[linear] - count * code
        yield Tensor(count, count - layer.zeros, bits[linear], code, pruned, scales)


def _linear_of(name: str, packed: dict[str, Linear]) -> str | None:
    """The packed linear that a stored tensor belongs to: all but a bias may."""
    parts = name.split(".")
    heads = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return None if parts[-1] == "bias" else next((h for h in heads if h in packed), None)


def _count(shape: list[int], count: int, nonzeros: int, width: int, layer: Linear | None) -> Tensor:
    bits = count * width
    if layer is None or layer.stored is None:
        return Tensor(count, nonzeros, bits, width, count - nonzeros, 0)
    stored = layer.stored
    # A zero that came of rounding is a code like any other.
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
