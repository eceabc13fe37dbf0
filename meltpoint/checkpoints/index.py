"""What a checkpoint is and which tensors it has, read without torch."""

import json
import math
from pathlib import Path

from meltpoint.errors import MeltpointError

INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def index(folder: Path) -> dict[str, str]:
    """Which file holds each tensor of a checkpoint.

    Raises MeltpointError where there are no safetensors, or a file that the index names is missing.
    """
    if (folder / INDEX).exists():
        try:
            files = json.loads((folder / INDEX).read_text())["weight_map"]
        except (ValueError, KeyError, TypeError):
            raise MeltpointError(f"{folder / INDEX} is broken: fetch or make it again") from None
        missing = sorted({file for file in files.values() if not (folder / file).exists()})
        if missing:
            raise MeltpointError(f"{folder / missing[0]} is missing, {INDEX} names it")
        return files
    if (folder / "model.safetensors").exists():
        return dict.fromkeys(header(folder / "model.safetensors"), "model.safetensors")
    pickles = [f.name for f in sorted(folder.glob("*")) if f.suffix in PICKLES]
    if pickles:
        raise MeltpointError(
            f"{folder} holds pickled weights ({pickles[0]}), which can run code and are not loaded: "
            "save them with save_pretrained(safe_serialization=True), or use a revision of the "
            "model that has safetensors (on the hub often refs/pr/N)"
        )
    raise MeltpointError(
        f"{folder} holds no model.safetensors: it is no checkpoint, or one of pickles, which are not "
        "fetched: use a revision that has safetensors (on the hub often refs/pr/N)"
    )


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


def count_parameters(folder: Path) -> int:
    """The stored weights of a checkpoint."""
    files = sorted(set(index(folder).values()))
    return sum(math.prod(t["shape"]) for file in files for t in header(folder / file).values())
