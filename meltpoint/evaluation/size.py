"""What a checkpoint weighs, counted in its files without torch."""

import time
from pathlib import Path

import numpy as np

from meltpoint.cells import skipped, write_cell
from meltpoint.weights import header, index

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

    `parameters` and `nonzeros` count stored weights. `bits_per_weight` is what a weight costs on
    average when each tensor is stored in the cheaper of two ways: as it is, or its non-zeros with a
    mask of one bit a weight. `bytes` are those of the weight files on disk. Raises MeltpointError
    for a checkpoint whose files are missing or truncated.
    """
    files = [folder / name for name in sorted(set(index(folder).values()))]
    parameters = nonzeros = bits = 0
    for count, kept, width in (tensor for file in files for tensor in _tensors(file)):
        parameters, nonzeros = parameters + count, nonzeros + kept
        bits += min(count * width, kept * width + count)
    return {
        "parameters": parameters,
        "nonzeros": nonzeros,
        "bits_per_weight": bits / parameters,
        "bytes": sum(file.stat().st_size for file in files),
    }


def _tensors(path: Path):
    """Of each tensor in a file: its entries, how many are not zero, the bits of one."""
    tensors = header(path)
    with path.open("rb") as file:
        data = 8 + int.from_bytes(file.read(8), "little")
        for tensor in tensors.values():
            width = WIDTHS[tensor["dtype"]]
            start, end = tensor["data_offsets"]
            count = (end - start) // width
            yield count, _nonzeros(path, data + start, count, width), 8 * width


def _nonzeros(path: Path, offset: int, count: int, width: int) -> int:
    kind, mask = np.dtype(f"<u{width}"), MAGNITUDE[width]
    found = 0
    for start in range(0, count, CHUNK):
        part = np.fromfile(
            path, kind, count=min(CHUNK, count - start), offset=offset + start * width
        )
        found += int(np.count_nonzero(part & mask))
    return found
