"""`meltpoint.json`: the description of a checkpoint. Only this module reads and writes that file."""

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meltpoint.checkpoints.adapter import FOLDER as ADAPTER
from meltpoint.checkpoints.adapter import adapted
from meltpoint.checkpoints.base_quantization import BaseQuantization
from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.shapes import Shapes
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.files import write_json
from meltpoint.hashing import hash_file, hash_text

FILE = "meltpoint.json"
# Reading a package's metadata takes milliseconds.
_version = cache(version)
# Cost of making the checkpoint, for the cells that report it. Only this file differs between runs.
COST = "cost.json"
WEIGHTS = (".safetensors", ".gguf")


class Achieved(BaseModel):
    """Compression of a checkpoint on each axis.

    `zeros` is the fraction of zeros among the entries of the matrices of the decoder's blocks,
    without zeros that came of rounding. `parameters` is the fraction of the dense decoder's
    parameters that was removed. `bits` is the mean number of bits of a stored weight of these matrices.
    It includes the scales, and a zero takes as many bits as any other weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    zeros: float
    parameters: float
    bits: float


class Description(BaseModel):
    """Contents of `meltpoint.json`.

    `steps` are the chain's steps with their resolved settings, `parents` the hashes of the checkpoints
    that they started from, `hash` the hash of this checkpoint's weight files. `requested` are the
    levels that the steps asked for, by axis. `dense_parameters` counts the dense decoder's parameters.
    `linears` are facts about the decoder's linears by name. A linear that was factorised is listed by
    its factors, a removed one is not listed. `other_matrices` are the blocks' matrices that no method
    compresses, such as a router's; they count in `achieved`. `stored_as` are the keys of linears whose
    weights are stored under other names. `zeros_lost` counts the earlier zeros that the last step
    filled, `rounded` is the fraction of zeros that came of rounding. `adapter` are the matrices of an
    adapter in the checkpoint's folder. `warnings` are sentences about the steps that every cell of the
    checkpoint repeats. `unused` are tensors of a base checkpoint that the language model does not use,
    `reached` are results of training the demo. `base_quantization` describes the grids of a base model
    that was decoded from a quantized file; all checkpoints made from that model repeat it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["ok", "not_applicable"] = "ok"
    reason: str | None = None
    chain: str = "dense"
    steps: list[dict] = []
    parents: list[str | None] = []
    hash: str | None = None
    seed: int | None = None
    versions: dict[str, str] = {}
    requested: dict[str, float] = {}
    achieved: Achieved | None = None
    zeros_lost: int = 0
    rounded: float = 0.0
    dense_parameters: int | None = None
    shapes: Shapes | None = None
    linears: dict[str, Linear] = {}
    other_matrices: dict[str, Linear] = {}
    adapter: dict[str, Linear] = Field({}, exclude_if=lambda matrices: not matrices)
    stored_as: dict[str, list[str]] = {}
    warnings: list[str] = []
    unused: list[str] = []
    reached: dict | None = None
    base_quantization: BaseQuantization | None = None

    @classmethod
    def read(cls, folder: Path) -> "Description":
        """The description of a checkpoint.

        Raises MeltpointError where the file is missing, broken, or of an older version.
        """
        try:
            content = json.loads((folder / FILE).read_text())
        except (OSError, ValueError):
            raise MeltpointError(
                f"{folder}: {FILE} is missing or broken: delete the folder and run again"
            ) from None
        try:
            return cls.model_validate(content)
        except ValidationError:
            raise MeltpointError(
                f"{folder / FILE} was written by another version: delete results/ and run again"
            ) from None

    @classmethod
    def of(cls, folder: Path) -> "Description | None":
        """The description of a checkpoint; None for a folder without one, such as a hub's."""
        return cls.read(folder) if (folder / FILE).exists() else None

    def write(self, folder: Path) -> None:
        """Writes `meltpoint.json`."""
        content = self.model_dump(
            mode="json", exclude={"linears", "other_matrices"}, exclude_none=True
        )
        matrices = {
            kind: {n: x.model_dump(mode="json", exclude_defaults=True) for n, x in found.items()}
            for kind, found in (("linears", self.linears), ("other_matrices", self.other_matrices))
        }
        write_json(folder / FILE, {**content, **matrices})

    @property
    def linears_as_read(self) -> dict[str, Linear]:
        """Facts about the linears as they are read. A linear with an adapter is on no grid."""
        off_grid, changed = {"stored": None, "zeros_rounded": 0}, adapted(self.adapter)
        return {
            name: linear.model_copy(update=off_grid) if name in changed else linear
            for name, linear in self.linears.items()
        }

    def require_regular(self, reader: str) -> None:
        """Raises NotApplicable if the config cannot express the shapes, which `reader` relies on."""
        if self.shapes and self.shapes.irregular:
            raise NotApplicable(
                f"{reader} reads ordinary Hugging Face folders only, and no config can say that "
                f"{self.shapes.irregular}"
            )


def hash_weights(folder: Path) -> str:
    """Hash of a checkpoint's weight files, names and contents."""
    shards = sorted(file for file in folder.iterdir() if file.suffix in WEIGHTS)
    shards += sorted((folder / ADAPTER).glob("*.safetensors"))
    return hash_text("\n".join(f"{f.name} {hash_file(f)}" for f in shards))


def versions(libraries: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of the packages that make a checkpoint: torch, transformers, safetensors and others."""
    return {name: _version(name) for name in ("torch", "transformers", "safetensors", *libraries)}
