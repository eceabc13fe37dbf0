"""Checkpoints whose weights a quantization library has packed: read as plain ones, and compared.

A library takes a plain checkpoint and leaves a packed one. Its result is not taken on trust: each
linear is decoded again and compared with the linear before the step.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from meltpoint.checkpoints.adapter import adapter_of
from meltpoint.checkpoints.description import FILE, Description
from meltpoint.checkpoints.formats import format_of
from meltpoint.checkpoints.io import Reader, Writer, copy_companions
from meltpoint.checkpoints.linears import Linear, LinearBefore, describe
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.model import empty_model
from meltpoint.model.stored_layout import StoredLayout, as_stored, follow


@contextlib.contextmanager
def plain(source: Path, place: Path, compute: Compute) -> Iterator[Path]:
    """Yields the checkpoint's path if any library can read it, else that of a decoded copy.

    The copy is made at `place` and deleted afterwards. It is needed for packed weights, and for weights
    that are stored under other names than the model's.
    """
    if is_plain(source) and Parts(source, compute).stored_by_their_names():
        yield source
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        write_plain(source, place, compute)
        yield place
    finally:
        shutil.rmtree(place)


def is_plain(source: Path) -> bool:
    """True if the weights are neither packed nor changed by an adapter."""
    return format_of(source) is None and adapter_of(source) is None


def write_plain(source: Path, target: Path, compute: Compute) -> None:
    """Writes a checkpoint's decoded weights as a plain one, block by block."""
    parts = Parts(source, compute)
    writer = Writer(target)
    for names in (parts.others, *parts.blocks):
        writer.write(as_stored(parts.model, parts.model, "", parts.reader.read(names)))
    writer.finish()
    copy_companions(source, target, compute.dtype)
    shutil.copyfile(source / FILE, target / FILE)


def compare(source: Path, target: Path, compute: Compute) -> dict[str, Linear]:
    """Facts about each of the decoder's linears after a library's step, by name.

    Raises MeltpointError for a linear that the library left unquantised.
    """
    before, after = Parts(source, compute), Parts(target, compute)
    earlier = Description.read(source).linears_as_read
    return {
        name: _compare(name, before.reader, after.reader, earlier.get(name))
        for name in before.linears
    }


def _compare(name: str, before: Reader, after: Reader, earlier: Linear | None) -> Linear:
    key = f"{name}.weight"
    packed = after.packed(key)
    if packed is None:
        raise MeltpointError(f"{after.folder}: {name} was left unquantised by the library")
    state = LinearBefore(before.read([key])[key], earlier)
    return describe(packed[0], state, packed[1])


class Parts:
    """The names of a checkpoint's parameters, block by block, and the reader for them."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        model = empty_model.build(folder, compute.torch_dtype)
        self.reader = Reader(folder, compute.torch_dtype, compute.torch_device)
        follow(self.reader, model)
        self.model = model
        name, blocks = empty_model.decoder_blocks(model)
        self.names = empty_model.parameters_of(model, model, "")
        self.others = [n for n in self.names if not n.startswith(f"{name}.")]
        self.blocks = [
            empty_model.parameters_of(model, block, f"{name}.{i}") for i, block in enumerate(blocks)
        ]
        self.linears = [
            f"{name}.{i}.{n}" for i, b in enumerate(blocks) for n in empty_model.linears(b)
        ]

    def stored_by_their_names(self) -> bool:
        """True if transformers finds each parameter as well, by name or by its conversion tables."""
        layout = StoredLayout(self.model, self.reader.files)
        return all(layout.keys(name) or self.reader.key(name) == name for name in self.names)
