"""Checkpoints: Hugging Face folders of safetensors that describe themselves.

Besides config, tokenizer and weights a checkpoint holds `meltpoint.json`: its chain, settings,
parent, versions and seed. Equal job specs give equal bytes. A step that does not apply leaves a folder
with this file only, which holds the reason.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from meltpoint.checkpoints.adapter import adapter_of
from meltpoint.checkpoints.description import COST, FILE, WEIGHTS
from meltpoint.checkpoints.formats import format_of
from meltpoint.checkpoints.index import INDEX, PICKLES, index, prefixes_of, spellings
from meltpoint.checkpoints.linears import Quantized
from meltpoint.compute import all_finite, is_out_of_memory, overflow
from meltpoint.errors import MeltpointError
from meltpoint.files import write_json
from meltpoint.timing import timed

# Files that describe one checkpoint's own weights; the next checkpoint writes its own.
NOT_CARRIED_ON = {INDEX, FILE, COST, ".snakemake_timestamp", "quantize_config.json"}
# The only folder in a checkpoint that is part of its tokenizer.
CHAT_TEMPLATES = "additional_chat_templates"


class Layout(Protocol):
    """Rules by which tensors become a model's parameters (`meltpoint.model.stored_layout`)."""

    def keys(self, name: str) -> list[str]:
        """Keys of the stored tensors that make up a parameter; [] if they are not known."""

    def converts(self, name: str) -> bool:
        """True unless a parameter is the unchanged tensor of a single key."""

    def library_name(self, name: str) -> str:
        """Name of the library's parameter that equals or contains the parameter `name`."""

    def whole(self, name: str, stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The library's parameter, computed from the tensors of its keys."""

    def part(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """The parameter `name`, taken out of `whole`, the library's parameter that holds it."""


class Reader:
    """Reads the tensors of a checkpoint by the names of the model's parameters.

    Weights that a quantization library has packed (`meltpoint.checkpoints.formats`) are decoded,
    and the update of an adapter beside them is added (`meltpoint.checkpoints.adapter`). No file
    stays open, because an open file keeps its pages in memory.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        self.folder, self.dtype, self.device = folder, dtype, device
        self.files = index(folder)
        self.format = format_of(folder)
        self._adapter = adapter_of(folder)
        self._prefixes = prefixes_of(self.files)
        self._tied: dict[str, list[str]] = {}
        self._layout: Layout | None = None

    def follow(self, layout: Layout, tied: dict[str, list[str]]) -> None:
        """Sets the layout by which parameters are stored, and the other names of tied ones."""
        self._layout, self._tied = layout, tied

    @timed("load")
    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """The named parameters on the reader's device, by name; floats are in the reader's dtype.

        Raises MeltpointError for a tensor that is missing, cannot be read, or is not finite.
        """
        wanted = {name: self.parts(name) or self._keys_by_name(name) for name in names}
        # Sorted by file, to open few files; one at a time, so that no tensor is in memory twice.
        order = sorted(wanted, key=lambda name: self._place(wanted[name]))
        # The last tensor of which several parameters are parts, so that it is read once for all.
        shared: dict[str, torch.Tensor] = {}
        tensors = {name: self._read_one(name, wanted[name], shared) for name in order}
        return {name: tensors[name] for name in wanted}

    def _keys_by_name(self, name: str) -> dict[str, str]:
        """Keys of an unpacked parameter's tensors by themselves; a single one that equals it by ""."""
        keys = self._layout.keys(name) if self._layout and self._layout.converts(name) else []
        if keys:
            return {key: key for key in keys}
        return {"": self.key(name)}

    def _read_one(
        self, name: str, parts: dict[str, str], shared: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        if "" in parts:
            tensor = self.stored(parts)[""]
        elif all(key == name for name, key in parts.items()):
            tensor = self._converted(name, parts, shared)
        else:
            tensor = self._with_format(name, "decode", self.stored(parts))
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.to(self.dtype)
        if self._adapter is not None and self._adapter.changes(name):
            tensor = self._adapter.added_to(name, tensor)
        if not all_finite(tensor):
            file = self.folder / self.files[next(iter(parts.values()))]
            dtype = str(self.dtype).removeprefix("torch.")
            raise MeltpointError(f"{file}: {name} holds NaN or infinite weights in {dtype}")
        return tensor

    def _converted(
        self, name: str, parts: dict[str, str], shared: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        library_name = self._layout.library_name(name)
        if library_name not in shared:
            shared.clear()
            shared[library_name] = self._layout.whole(library_name, self.stored(parts))
        part = self._layout.part(name, shared[library_name])
        return part.clone(memory_format=torch.contiguous_format)

    def _place(self, parts: dict[str, str]) -> tuple[str, list[str]]:
        keys = list(parts.values())
        return self.files[keys[0]], keys

    def parts(self, name: str) -> dict[str, str]:
        """Keys of the tensors of a packed weight, by the tensors' short names; {} for other weights."""
        linear, _, leaf = name.rpartition(".")
        if self.format is None or leaf != "weight":
            return {}
        found = (self.format.parts(spelling, self.files) for spelling in self._spelled(linear))
        return next(filter(None, found), {})

    def packed(self, name: str) -> tuple[torch.Tensor, Quantized] | None:
        """A packed weight, decoded to the reader's dtype, and its grid; None for other weights."""
        parts = self.parts(name)
        if not parts:
            return None
        stored = self.stored(parts)
        weight = self._with_format(name, "decode", stored)
        return weight.to(self.dtype), self._with_format(name, "grid", stored)

    def stored(self, parts: dict[str, str]) -> dict[str, torch.Tensor]:
        """Tensors in the dtype in which they are stored, on the device, by their short names.

        `parts` are their keys by short name. Raises MeltpointError for a file that cannot be read.
        """
        found: dict[str, torch.Tensor] = {}
        for file in sorted({self.files[key] for key in parts.values()}):
            path = self.folder / file
            try:
                with safe_open(path, "pt") as opened:
                    found |= {
                        name: opened.get_tensor(key).to(self.device, copy=True)
                        for name, key in parts.items()
                        if self.files[key] == file
                    }
            except (SafetensorError, OSError) as error:
                raise MeltpointError(
                    f"{path} cannot be read ({error}): it is truncated or no safetensors file; "
                    "fetch or make it again"
                ) from None
        return found

    def _with_format(self, name: str, what: str, stored: dict[str, torch.Tensor]):
        try:
            return getattr(self.format, what)(stored)
        except (RuntimeError, KeyError, IndexError, ValueError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[0]
            raise MeltpointError(
                f"{self.folder}: {name} cannot be decoded by its quantization_config "
                f"({type(error).__name__}: {reason}): fetch or make the checkpoint again"
            ) from None

    def key(self, name: str) -> str:
        """The key under which a parameter, or one that is tied to it, is stored."""
        for known in (name, *self._tied.get(name, ())):
            if found := self.stored_keys(known):
                return found[0]
        raise MeltpointError(f"{self.folder}: the checkpoint has no {name}, which its config needs")

    def stored_keys(self, name: str) -> list[str]:
        """Keys of a parameter's own tensors, usually one; [] if only a tied one is stored."""
        if self._layout and (keys := self._layout.keys(name)):
            return keys
        return [key for key in self._spelled(name) if key in self.files][:1]

    def _spelled(self, name: str) -> Iterator[str]:
        return spellings(name, self._prefixes)


class Writer:
    """Writes a checkpoint shard by shard, so that only one shard is in memory.

    `shapes` are the shapes of the tensors written so far, by name. Until the checkpoint is finished the
    shards are in `place`: the checkpoint's folder, or one that outlives a killed job.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = self.place = folder
        self.files: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.shards = self.bytes = 0

    @timed("save")
    def write(self, tensors: dict[str, torch.Tensor]) -> None:
        """Writes the next shard; raises MeltpointError for weights that are not finite."""
        self.shards += 1
        tensors = {key: tensor.contiguous().cpu() for key, tensor in tensors.items()}
        for key, tensor in tensors.items():
            if tensor.is_floating_point() and not all_finite(tensor):
                dtype = str(tensor.dtype).removeprefix("torch.")
                raise MeltpointError(overflow(f"weights of {key}", "this step", dtype))
            self.files[key] = self.shards
            self.shapes[key] = tuple(tensor.shape)
            self.bytes += tensor.nbytes
        path = self.path(self.shards)
        save_file(tensors, path, metadata={"format": "pt"})
        share(path)

    def finish(self) -> None:
        """Gives the shards their final names, with their number, and writes the index.

        Shards in a folder that outlives a killed job stay there as well, as hard links.
        """
        names = {
            shard: f"model-{shard:05d}-of-{self.shards:05d}.safetensors"
            for shard in range(1, self.shards + 1)
        }
        for shard, name in names.items():
            _put(self.path(shard), self.folder / name, keep=self.place != self.folder)
        total = {"total_size": self.bytes}
        files = {key: names[shard] for key, shard in self.files.items()}
        write_json(self.folder / INDEX, {"metadata": total, "weight_map": files})

    def move(self, place: Path) -> None:
        """Moves the shards to another folder of the same disk; later shards go there too."""
        if place != self.place:
            for path in self.paths():
                path.replace(place / path.name)
            self.place = place

    def paths(self) -> list[Path]:
        """Paths of the shards that were written so far."""
        return [self.path(shard) for shard in range(1, self.shards + 1)]

    def path(self, shard: int, place: Path | None = None) -> Path:
        """Path of a shard, counted from 1, before the checkpoint is finished."""
        return (place or self.place) / f"model-{shard:05d}.safetensors"


def _put(file: Path, target: Path, keep: bool) -> None:
    """Moves a file, or with `keep` links it, unless the disk has no hard links."""
    if keep:
        with contextlib.suppress(OSError):
            return os.link(file, target)
    file.replace(target)


def share(path: Path) -> None:
    """Gives a file the usual permissions; safetensors lets only the owner read its files."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def copy_companions(
    source: Path, target: Path, dtype: str, changes: dict[str, object] | None = None
) -> None:
    """Copies config, tokenizer and all other files but the weights, and sets `dtype` in the config.

    The config loses its `quantization_config`. `changes` are further keys with their new values.
    """
    copy_missing(source, target)
    config = json.loads((target / "config.json").read_text())
    for key in ("torch_dtype", "quantization_config"):
        config.pop(key, None)
    write_json(target / "config.json", {**config, **(changes or {}), "dtype": dtype})


def copy_missing(source: Path, target: Path) -> None:
    """Copies the files that are no weights and that `target` lacks."""
    for file in sorted(source.iterdir()):
        weights = file.suffix in (*WEIGHTS, *PICKLES)
        carried = file.is_file() and not weights and file.name not in NOT_CARRIED_ON
        if carried and not (target / file.name).exists():
            shutil.copyfile(file, target / file.name)
    if (source / CHAT_TEMPLATES).is_dir():
        shutil.copytree(source / CHAT_TEMPLATES, target / CHAT_TEMPLATES, dirs_exist_ok=True)
