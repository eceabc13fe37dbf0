"""The contract of a method: what its file declares, which functions it has, and what they are handed.

A file of this folder is a method. It declares the fields of `Facts` at module level, a class
`Settings`, and one of two functions: `compress_block` (`BlockwiseMethod`) or `compress`
(`CheckpointMethod`). The functions of `OptionalFunctions` may be added. The registry compares a file
with this page when it loads it.

Snakemake reads the methods where torch need not be installed, so torch's types are named here by
strings: a method's file imports `Block`, `Statistics` and `Tensor` from here for its annotations.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from meltpoint.chain import Bits, Level, Pattern, Scheme, Sparsity
from meltpoint.compute import Compute
from meltpoint.methods.settings import MethodSettings
from meltpoint.resources import Resources
from meltpoint.text import one_of

if TYPE_CHECKING:
    import torch

    from meltpoint.checkpoints.linears import Quantized
    from meltpoint.data.training_text import TrainingText
    from meltpoint.model import activation_statistics, block_walk, model_parts

Block: TypeAlias = "block_walk.Block"
Statistics: TypeAlias = "activation_statistics.Statistics"
Tensor: TypeAlias = "torch.Tensor"

T = TypeVar("T")

Kind = Literal["unstructured", "structured", "low-rank", "quantization", "finetuning"]
LEVELS = (Sparsity, Pattern, Bits, Scheme)


class Declared(BaseModel):
    """A part of what a file declares: unknown names and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Facts(Declared):
    """What a method's file declares at module level, in lower case."""

    kind: Kind = Field(description="What the method may change.")
    levels: tuple[type, ...] = Field(description="Classes of `meltpoint.chain` that it takes.")
    env: str = Field(description="Environment that it runs in: a file of `envs/`, without ending.")
    bits: tuple[int, ...] = Field((), description="Bit widths that it takes.")
    schemes: tuple[str, ...] = Field((), description="Named schemes that it takes.")
    libraries: tuple[str, ...] = Field(
        (), description="Packages that it needs besides torch and transformers, as `env` pins them."
    )
    evaluation_env: str = Field(
        "torch", description="Environment that its checkpoints are evaluated in."
    )
    resources: Resources = Field(Resources(), description="What a job asks of its machine.")
    statistics: tuple[str, ...] = Field(
        (), description="Accumulators of `meltpoint.model.activation_statistics` that it needs."
    )
    dense_statistics: bool = Field(
        False,
        description="Its statistics are those of the model as it is before the step: compressed "
        "blocks do not change the inputs of later ones. `block.hidden` is None then.",
    )
    gradients: tuple[str, ...] = Field(
        (),
        description="Accumulators of `meltpoint.model.gradient_statistics` that `compress_block` "
        "finds in `block.gradients`.",
    )
    updates_weights: bool = Field(
        False, description="By default it changes the values of weights that it keeps."
    )
    rescales_norms: bool = Field(
        False, description="It moves scales between norms or biases and the linears after them."
    )
    needs_regular_shapes: bool = Field(
        False, description="It takes no checkpoint whose blocks differ in their shapes."
    )
    needs_gradients: bool = Field(
        False, description="It uses gradients of the loss; implied by `gradients`."
    )
    sparsity_scope: Literal["linear", "block", "model"] = Field(
        "linear", description="Part of the model in which the requested sparsity holds."
    )
    full_range_settings: dict[str, str] = Field(
        {}, description="Settings with which it reaches every level, where the defaults do not."
    )
    quick_settings: dict[str, str] = Field(
        {}, description="Settings with which tests run it, where the defaults take minutes."
    )
    representative_level: str = Field(
        "", description="Level that stands for all where a test tries every architecture."
    )
    agrees_with_transformers: bool = Field(
        True,
        description="transformers loads its checkpoints and computes Meltpoint's logits (to 2e-3).",
    )
    disagrees_on: tuple[str, ...] = Field(
        (), description="Model types on which transformers computes other logits all the same."
    )
    stores_biases_in: Literal["", "float16"] = Field(
        "", description="Dtype to which biases of the linears are rounded; empty: the study's."
    )
    resumes: bool = Field(
        False,
        description="Its `compress` keeps what it has done in `context.resume`: a killed job goes on.",
    )
    search_settings: tuple[str, ...] = Field(
        (), description="Settings that `search` reads, besides those of the calibration."
    )
    search_format: Literal["json", "npz"] = Field(
        "json", description="File that a search is kept in: npz where it returns arrays."
    )

    @model_validator(mode="after")
    def _levels_are_complete(self) -> Self:
        if unknown := [level for level in self.levels if level not in LEVELS]:
            known = one_of(level.__name__ for level in LEVELS)
            raise ValueError(f"levels holds {unknown[0].__name__}, which is not {known}")
        for level, name in ((Bits, "bits"), (Scheme, "schemes")):
            if level in self.levels and not getattr(self, name):
                raise ValueError(f"a method that takes {level.__name__} declares {name!r}")
        return self


@dataclass(frozen=True)
class Context:
    """What a method is handed besides a checkpoint, its level and its settings.

    `windows` are the calibration's tokens, int64 [windows, tokens], None for a method that looks at
    none. `validation` are those of the calibration that the settings' `validation_calibration` names,
    for a search. Windows of `sampling: first` may be padded: `lengths` and `validation_lengths`, int64
    [windows], are the numbers of tokens before the padding. `search` is what the method's `search`
    returned; a search is handed what its `earlier_search` returned. `resume` is a folder that is still
    there when a killed job runs again, and is deleted when the job ends. `texts` are those that the
    settings' `training_data` names, by their use. `parent` is the checkpoint as it is stored, also
    where `compress` is handed a decoded copy of it.
    """

    windows: "Tensor | None"
    compute: Compute
    validation: "Tensor | None" = None
    lengths: "Tensor | None" = None
    validation_lengths: "Tensor | None" = None
    search: dict[str, Any] | None = None
    resume: Path | None = None
    texts: "Mapping[str, TrainingText]" = field(default_factory=dict)
    parent: Path | None = None

    def progress(self, items: Iterable[T], description: str) -> Iterable[T]:
        """Items of a long loop, with a bar while they go by where standard error is a terminal."""
        from meltpoint.progress import track

        return track(items, description)


class MethodFile(Protocol):
    """What every method's file declares; the rest of `Facts` has defaults."""

    kind: str
    levels: tuple[type, ...]
    env: str
    Settings: type[MethodSettings]


class BlockwiseMethod(MethodFile, Protocol):
    """A method that works block by block on the shared walk (`meltpoint.compression.blockwise`)."""

    def compress_block(
        self,
        block: Block,
        statistics: dict[str, Statistics],
        level: Level | None,
        settings: MethodSettings,
    ) -> "dict[str, Quantized] | None":
        """Compresses a block in place, by the statistics of its linears' inputs.

        Returns how each linear can be stored, by name, where the method quantizes. Raises
        NotApplicable, with the reason, for what it cannot do.
        """


class CheckpointMethod(MethodFile, Protocol):
    """A method that sees the whole model, or is done by a library."""

    def compress(
        self,
        source: Path,
        target: Path,
        level: Level | None,
        settings: MethodSettings,
        context: Context,
    ) -> dict[str, dict] | None:
        """Compresses the plain checkpoint in `source` into the empty folder `target`.

        It leaves the folder as the users of its library expect it. What became of each linear is
        read from there (`meltpoint.checkpoints.formats`), unless the function returns it. Raises
        NotApplicable, with the reason, for what it cannot do.
        """


class OptionalFunctions(Protocol):
    """Functions that a method's file may have besides."""

    def statistics(self, settings: MethodSettings) -> tuple[str, ...]:
        """Names of accumulators, in the place of the declaration, where settings decide."""

    def gradients(self, settings: MethodSettings) -> tuple[str, ...]:
        """Names of gradient accumulators, where settings decide.

        They are collected over the calibration on a walk backwards through the model as it is before
        the step (`meltpoint.model.backward_walk`). A method that needs the gradients of all blocks at
        once calls `backward_walk` itself, in `search` or in `compress`.
        """

    def needs_dense_outputs(self, settings: MethodSettings) -> bool:
        """True where it compares a block's outputs with those of the whole dense model."""

    def compressed_windows(self, settings: MethodSettings) -> int:
        """Number of windows whose way through the compressed blocks is followed.

        For a method with `dense_statistics`, which finds them in `block.compressed_inputs`; at most
        the calibration's windows are followed.
        """

    def calibrated(self, level: Level, settings: MethodSettings) -> bool:
        """True for a step that looks at text, where that depends on the level too."""

    def finish(self, parts: "model_parts.ModelParts", memory: dict[str, Any]) -> None:
        """Changes embeddings, final norm and head in place, after the last block.

        `memory` holds what `compress_block` has left in `block.memory`.
        """

    def analysis(self, memory: dict[str, Any]) -> dict[str, Any]:
        """Files on what the step did, by name: JSON values for a name in .json, otherwise texts.

        They are written into the folder `analysis` of the checkpoint, and belong to its step alone:
        no later step's checkpoint has them. `memory` is what `compress_block` has left.
        """

    def search(self, source: Path, settings: MethodSettings, context: Context) -> dict[str, Any]:
        """Result that does not depend on the level: JSON values and arrays by name.

        It is computed once for all levels, kept as a result of its own, and handed to `compress` as
        `context.search`, to `compress_block` as `block.search`. Settings that are not named in
        `search_settings` have their defaults here.
        """

    def search_windows(
        self, settings: MethodSettings, blocks: int, windows: int
    ) -> tuple[int, int]:
        """Numbers of windows that its search sends through one block, and through the head.

        For the bill, of a model with so many blocks and a calibration of so many windows, where that is
        more than a walk.
        """

    def earlier_search(self, settings: MethodSettings) -> dict[str, Any] | None:
        """Changes of the settings that give another search of the method; None for no other.

        That search runs first, and its result is handed to this one as `context.search`. So searches
        that differ in a part share the other part.
        """

    def rounds(self, settings: MethodSettings) -> int:
        """Number of rounds of a method with a search, where it is not one.

        Each round searches and changes the checkpoint of the round before. Round k of n is handed the
        level's k-th part of n; `block.memory` stays the same. The method is `calibrated` with more than
        one round, so that the windows are there for their searches.
        """


FUNCTIONS = {
    name: list(inspect.signature(function).parameters)[1:]
    for protocol in (BlockwiseMethod, CheckpointMethod, OptionalFunctions)
    for name, function in vars(protocol).items()
    if isinstance(function, FunctionType) and not name.startswith("_")
}
