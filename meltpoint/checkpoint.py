"""Checkpoints: Hugging Face folders of safetensors that describe themselves.

Beside config, tokenizer and weights a checkpoint holds `meltpoint.json`: its chain, settings,
parent, versions and seed. The same recipe gives the same bytes. A step that does not apply leaves a
folder with that file alone, which says why.
"""

import json
import os
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from meltpoint.errors import MeltpointError
from meltpoint.files import hash_file, hash_text, write_json
from meltpoint.phases import timed
from meltpoint.weights import DESCRIPTION, INDEX, PICKLES, index

NOT_CARRIED_ON = {INDEX, DESCRIPTION, ".snakemake_timestamp"}


def write_description(folder: Path, **facts: object) -> None:
    """Writes `meltpoint.json` with the facts, the versions and the hash of the weights."""
    shards = sorted(folder.glob("*.safetensors"))
    digest = hash_text("\n".join(f"{f.name} {hash_file(f)}" for f in shards))
    versions = {name: version(name) for name in ("torch", "transformers", "safetensors")}
    write_json(folder / DESCRIPTION, {**facts, "hash": digest, "versions": versions})


class Reader:
    """The tensors of a checkpoint by their parameters' names, read when they are asked for.

    No file is kept open: an open one keeps its pages in memory.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        self.folder, self.dtype, self.device = folder, dtype, device
        self.files = index(folder)
        prefixes = {key.split(".", 1)[0] for key in self.files}
        self._spellings = ["", *(f"{prefix}." for prefix in prefixes)]
        self._tied: dict[str, list[str]] = {}

    def tie(self, names: dict[str, list[str]]) -> None:
        """Says under which other names a tied parameter may be stored (`skeleton.tied_names`)."""
        self._tied = names

    @timed("load")
    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """The named tensors, on the device, floats in the reader's dtype.

        Raises MeltpointError for one that is missing, cannot be read, or is not finite.
        """
        keys = {name: self._key(name) for name in names}
        tensors: dict[str, torch.Tensor] = {}
        for file in sorted({self.files[key] for key in keys.values()}):
            wanted = {name: key for name, key in keys.items() if self.files[key] == file}
            tensors |= self._read_file(self.folder / file, wanted)
        return {name: tensors[name] for name in keys}

    def _read_file(self, path: Path, wanted: dict[str, str]) -> dict[str, torch.Tensor]:
        try:
            with safe_open(path, "pt") as file:
                found = {name: self._place(file.get_tensor(key)) for name, key in wanted.items()}
        except (SafetensorError, OSError) as error:
            raise MeltpointError(
                f"{path} cannot be read ({error}): it is truncated or no safetensors file; "
                "fetch or make it again"
            ) from None
        for name, tensor in found.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise MeltpointError(f"{path}: {name} holds NaN or infinite weights")
        return found

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, dtype, copy=True)

    def _key(self, name: str) -> str:
        """The key under which a parameter is stored: some checkpoints leave out or add a prefix."""
        for known in (name, *self._tied.get(name, ())):
            spellings = (known, known.split(".", 1)[-1], *(p + known for p in self._spellings))
            if found := next((key for key in spellings if key in self.files), None):
                return found
        raise MeltpointError(f"{self.folder}: the checkpoint has no {name}, which its config needs")


class Writer:
    """Writes a checkpoint shard by shard, so that only one is held."""

    def __init__(self, folder: Path, shards: int) -> None:
        self.folder, self.shards, self.written = folder, shards, 0
        self.files: dict[str, str] = {}
        self.bytes = 0

    @timed("save")
    def write(self, tensors: dict[str, torch.Tensor]) -> None:
        """The next shard; raises MeltpointError for weights that are not finite."""
        self.written += 1
        name = f"model-{self.written:05d}-of-{self.shards:05d}.safetensors"
        tensors = {key: tensor.contiguous().cpu() for key, tensor in tensors.items()}
        for key, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise MeltpointError(
                    f"{key} became NaN or infinite: set compute.dtype to float32 or bfloat16"
                )
            self.files[key] = name
            self.bytes += tensor.nbytes
        save_file(tensors, self.folder / name, metadata={"format": "pt"})
        share(self.folder / name)

    def finish(self) -> None:
        """Writes the index over the shards."""
        total = {"metadata": {"total_size": self.bytes}, "weight_map": self.files}
        write_json(self.folder / INDEX, total)


def share(path: Path) -> None:
    """Gives a file the permissions of any other new one: safetensors makes them its owner's alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def copy_companions(source: Path, target: Path, dtype: str) -> None:
    """Copies config and tokenizer, all that is no weight, and notes the weights' dtype."""
    for file in sorted(source.iterdir()):
        weights = file.suffix in (".safetensors", ".gguf", *PICKLES)
        if file.is_file() and not weights and file.name not in NOT_CARRIED_ON:
            shutil.copyfile(file, target / file.name)
    config = json.loads((target / "config.json").read_text())
    config.pop("torch_dtype", None)
    write_json(target / "config.json", {**config, "dtype": dtype})
