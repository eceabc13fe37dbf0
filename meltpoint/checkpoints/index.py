"""The tensors of a checkpoint: their files, names and headers, read without torch."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from meltpoint.errors import MeltpointError

SINGLE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Files of a checkpoint: weights, and all that a tokenizer or a config may consist of; never code.
WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
# End of the error for a folder that is no checkpoint.
NO_CONFIG = "has no config.json: a checkpoint is a folder with config.json and *.safetensors in it"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def index(folder: Path) -> dict[str, str]:
    """File of each tensor of a checkpoint, by the tensor's name, as transformers reads them.

    `model.safetensors` takes precedence over an index of shards. The names come from the shards' own
    headers. If two shards hold the same tensor, the last one counts. Raises MeltpointError if there are
    no safetensors, or if a file that the index names is missing or truncated.
    """
    if (folder / SINGLE_FILE).exists():
        return dict.fromkeys(header(folder / SINGLE_FILE), SINGLE_FILE)
    if (folder / INDEX).exists():
        shards = sorted(set(_weight_map(folder / INDEX).values()))
        if missing := [file for file in shards if not (folder / file).exists()]:
            raise MeltpointError(f"{folder / missing[0]} is missing, {INDEX} names it")
        return {key: file for file in shards for key in header(folder / file)}
    pickles = [f.name for f in sorted(folder.glob("*")) if f.suffix in PICKLES]
    if pickles:
        raise MeltpointError(
            f"{folder} holds pickled weights ({pickles[0]}), which can run code and are not loaded: "
            "save them with save_pretrained(safe_serialization=True), or use a revision of the "
            "model that has safetensors (on the hub often refs/pr/N)"
        )
    raise MeltpointError(
        f"{folder} holds no {SINGLE_FILE}: save the model with "
        "save_pretrained(safe_serialization=True), or use a revision of the hub that has safetensors "
        "(often refs/pr/N)"
    )


def _weight_map(path: Path) -> dict[str, str]:
    """The shard of each tensor, by the tensor's name, from an index file."""
    try:
        shards = json.loads(path.read_text())["weight_map"]
        if not all(isinstance(file, str) for file in shards.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MeltpointError(f"{path} is broken: fetch or make it again") from None
    return shards


def header(path: Path) -> dict[str, dict]:
    """A safetensors file's header (dtype, shape and offsets by tensor), checked against its size.

    Raises MeltpointError for a file that is truncated or no safetensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length < size:
                raise ValueError("its header is cut off")
            tensors = json.loads(file.read(length))
        tensors.pop("__metadata__", None)
        end = 8 + length + max((t["data_offsets"][1] for t in tensors.values()), default=0)
        if end != size:
            raise ValueError(f"it should be {end:,} bytes long and is {size:,}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MeltpointError(
            f"{path} is truncated or no safetensors file ({error}): fetch or make it again"
        ) from None
    return tensors


def spellings(name: str, prefixes: Iterable[str]) -> Iterator[str]:
    """Keys under which a parameter may be stored, as some checkpoints leave out or add a prefix.

    In a model of text and images the language model has a prefix of its own.
    """
    body, _, rest = name.partition(".")
    yield from (name, name.split(".", 1)[-1], f"{body}.language_model.{rest}")
    yield from (prefix + name for prefix in prefixes)


def prefixes_of(keys: Iterable[str]) -> list[str]:
    """The parts before the first dot of a checkpoint's keys, each with the dot."""
    return sorted({key.split(".", 1)[0] + "." for key in keys})


def tensors_of(folder: Path) -> dict[str, tuple[str, dict]]:
    """File and header entry (dtype, shape, offsets) of each tensor, by the tensor's name."""
    files = index(folder)
    headers = {file: header(folder / file) for file in set(files.values())}
    return {key: (file, headers[file][key]) for key, file in files.items()}


def count_parameters(folder: Path) -> int:
    """Number of the weights that a checkpoint stores."""
    return sum(math.prod(tensor["shape"]) for _, tensor in tensors_of(folder).values())
