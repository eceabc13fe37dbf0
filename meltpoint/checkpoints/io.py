"""Checkpoints: Hugging Face folders of safetensors that describe themselves.

Beside config, tokenizer and weights a checkpoint holds `meltpoint.json`: its chain, settings,
parent, versions and seed. The same job spec gives the same bytes. A step that does not apply leaves a
folder with that file alone, which says why.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from meltpoint.checkpoints.description import FILE, WEIGHTS
from meltpoint.checkpoints.formats import format_of
from meltpoint.checkpoints.index import INDEX, PICKLES, index, prefixes_of, spellings
from meltpoint.checkpoints.linears import Quantized
from meltpoint.compute import overflow
from meltpoint.errors import MeltpointError
from meltpoint.files import write_json
from meltpoint.timing import timed

# What says how the weights were stored belongs to them.
NOT_CARRIED_ON = {INDEX, FILE, ".snakemake_timestamp", "quantize_config.json"}
# The one folder in a checkpoint that belongs to its tokenizer.
CHAT_TEMPLATES = "additional_chat_templates"


class Reader:
    """The tensors of a checkpoint by their parameters' names, read when they are asked for.

    Weights that a quantization library has packed (`meltpoint.checkpoints.formats`) are decoded.
    No file is kept open: an open one keeps its pages in memory.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        self.folder, self.dtype, self.device = folder, dtype, device
        self.files = index(folder)
        self.format = format_of(folder)
        self._prefixes = prefixes_of(self.files)
        self._tied: dict[str, list[str]] = {}

    def tie(self, names: dict[str, list[str]]) -> None:
        """Says under which other names a tied parameter may be stored (`empty_model.tied_names`)."""
        self._tied = names

    @timed("load")
    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """The named tensors, on the device, floats in the reader's dtype.

        Raises MeltpointError for one that is missing, cannot be read, or is not finite.
        """
        wanted = {name: self.parts(name) or {"": self.key(name)} for name in names}
        # By file, so that few are opened; one at a time, so that nothing is held twice.
        order = sorted(wanted, key=lambda name: self.files[next(iter(wanted[name].values()))])
        tensors = {name: self._read_one(name, wanted[name]) for name in order}
        return {name: tensors[name] for name in wanted}

    def _read_one(self, name: str, parts: dict[str, str]) -> torch.Tensor:
        stored = self.stored(parts)
        tensor = stored[""] if "" in stored else self._with_format(name, "decode", stored)
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.to(self.dtype)
        if not tensor.isfinite().all():
            file = self.folder / self.files[next(iter(parts.values()))]
            dtype = str(self.dtype).removeprefix("torch.")
            raise MeltpointError(f"{file}: {name} holds NaN or infinite weights in {dtype}")
        return tensor

    def parts(self, name: str) -> dict[str, str]:
        """The keys under which a packed weight is stored, by their short names; none for others."""
        linear, _, leaf = name.rpartition(".")
        if self.format is None or leaf != "weight":
            return {}
        found = (self.format.parts(spelling, self.files) for spelling in self._spelled(linear))
        return next(filter(None, found), {})

    def packed(self, name: str) -> tuple[torch.Tensor, Quantized] | None:
        """A packed weight, in the reader's dtype, and what it is stored as; None for others."""
        parts = self.parts(name)
        if not parts:
            return None
        stored = self.stored(parts)
        weight = self._with_format(name, "decode", stored)
        return weight.to(self.dtype), self._with_format(name, "grid", stored)

    def stored(self, parts: dict[str, str]) -> dict[str, torch.Tensor]:
        """Tensors as they are stored, on the device, by other names than their keys.

        Raises MeltpointError for a file that cannot be read.
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
            reason = str(error).strip().splitlines()[0]
            raise MeltpointError(
                f"{self.folder}: {name} cannot be decoded by its quantization_config "
                f"({type(error).__name__}: {reason}): fetch or make the checkpoint again"
            ) from None

    def key(self, name: str) -> str:
        """The key under which a parameter is stored, or one that is tied to it."""
        for known in (name, *self._tied.get(name, ())):
            if found := self.stored_key(known):
                return found
        raise MeltpointError(f"{self.folder}: the checkpoint has no {name}, which its config needs")

    def stored_key(self, name: str) -> str | None:
        """The key under which a parameter itself is stored; None where it is not."""
        return next((key for key in self._spelled(name) if key in self.files), None)

    def _spelled(self, name: str) -> Iterator[str]:
        return spellings(name, self._prefixes)


class Writer:
    """Writes a checkpoint shard by shard, so that only one is held.

    `shapes` are those of the tensors that were written, by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.shards = self.bytes = 0

    @timed("save")
    def write(self, tensors: dict[str, torch.Tensor]) -> None:
        """The next shard; raises MeltpointError for weights that are not finite."""
        self.shards += 1
        tensors = {key: tensor.contiguous().cpu() for key, tensor in tensors.items()}
        for key, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                dtype = str(tensor.dtype).removeprefix("torch.")
                raise MeltpointError(overflow(f"weights of {key}", "this step", dtype))
            self.files[key] = self.shards
            self.shapes[key] = tuple(tensor.shape)
            self.bytes += tensor.nbytes
        path = self._path(self.shards)
        save_file(tensors, path, metadata={"format": "pt"})
        share(path)

    def finish(self) -> None:
        """Gives the shards the names that say how many they are, and writes the index over them."""
        names = {
            shard: f"model-{shard:05d}-of-{self.shards:05d}.safetensors"
            for shard in range(1, self.shards + 1)
        }
        for shard, name in names.items():
            self._path(shard).rename(self.folder / name)
        total = {"total_size": self.bytes}
        files = {key: names[shard] for key, shard in self.files.items()}
        write_json(self.folder / INDEX, {"metadata": total, "weight_map": files})

    def _path(self, shard: int) -> Path:
        return self.folder / f"model-{shard:05d}.safetensors"


def share(path: Path) -> None:
    """Gives a file the permissions of any other new one: safetensors makes them its owner's alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def copy_companions(
    source: Path, target: Path, dtype: str, changes: dict[str, object] | None = None
) -> None:
    """Copies config and tokenizer, all that is no weight, and notes the weights' plain dtype.

    `changes` are keys of the config that have other values in the new checkpoint.
    """
    copy_missing(source, target)
    config = json.loads((target / "config.json").read_text())
    for key in ("torch_dtype", "quantization_config"):
        config.pop(key, None)
    write_json(target / "config.json", {**config, **(changes or {}), "dtype": dtype})


def copy_missing(source: Path, target: Path) -> None:
    """Copies what is no weight, and is not there yet."""
    for file in sorted(source.iterdir()):
        weights = file.suffix in (*WEIGHTS, *PICKLES)
        carried = file.is_file() and not weights and file.name not in NOT_CARRIED_ON
        if carried and not (target / file.name).exists():
            shutil.copyfile(file, target / file.name)
    if (source / CHAT_TEMPLATES).is_dir():
        shutil.copytree(source / CHAT_TEMPLATES, target / CHAT_TEMPLATES, dirs_exist_ok=True)
