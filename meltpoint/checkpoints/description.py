"""`meltpoint.json`: what a checkpoint says of itself. Nothing else reads or writes that file."""

import json
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
# What making the checkpoint took, where a cell is to say it: the one file that differs from run to run.
COST = "cost.json"
WEIGHTS = (".safetensors", ".gguf")


class Achieved(BaseModel):
    """What a checkpoint has reached on each axis.

    `zeros` is the fraction of zeros among the entries of the matrices of the decoder's blocks,
    without zeros that came of rounding. `parameters` is the fraction of the dense decoder's
    parameters that is gone. `bits` is the mean width of a stored weight of these matrices, scales
    counted and zeros not spared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    zeros: float
    parameters: float
    bits: float


class Description(BaseModel):
    """Contents of `meltpoint.json`.

    `steps` are those of the chain with their resolved settings, `parents` the hashes of the
    checkpoints that they started from, `hash` that of this one's weight files. `requested` is what
    the steps have asked for, by axis. `dense_parameters` is the number of the dense decoder's
    parameters. `linears` are the decoder's by their names in the model: a linear whose factors are
    there was replaced by them, one that is not there is gone. `other_matrices` are those of the
    blocks that no method compresses (a router's): they count in `achieved`. `stored_as` are the
    keys of what a linear's weight is made of, where that is not its own name's. `zeros_lost` counts
    the earlier zeros that the last step filled, `rounded` is the fraction of zeros that came of
    rounding. `adapter` are the matrices of an adapter that is kept beside the weights. `warnings` are
    sentences about the steps that each cell of the checkpoint repeats.
    `unused` are tensors of a base checkpoint that the language model does not use, `reached` what
    training the demo has reached. `base_quantization` says on which grids the base model's weights
    were, where it was decoded from a quantized file; every checkpoint made of it repeats that.
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
        """The description of a checkpoint; None for a folder that has none, say a hub's."""
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
        """The linears as they are with their adapter, if there is one: on no grid then."""
        off_grid, changed = {"stored": None, "zeros_rounded": 0}, adapted(self.adapter)
        return {
            name: linear.model_copy(update=off_grid) if name in changed else linear
            for name, linear in self.linears.items()
        }

    def require_regular(self, reader: str) -> None:
        """Raises NotApplicable for shapes that a config cannot say; `reader` needs a config alone."""
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
    return {name: version(name) for name in ("torch", "transformers", "safetensors", *libraries)}
