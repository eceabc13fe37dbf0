"""The contract of a method: its declarations, its functions, and the arguments of these.

A file of this folder is a method. It declares the fields of `Facts` at module level, a class
`Settings`, and one of two functions: `compress_block` (`BlockwiseMethod`) or `compress`
(`CheckpointMethod`). It may add the functions of `OptionalFunctions`. The registry checks each file
against this contract when it loads the file.

Snakemake reads the methods in environments without torch. The aliases `Block`, `Statistics` and
`Tensor` are therefore strings; a method's file imports them from here for its annotations.
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
    """Base of the declarations of a method's file. Refuses unknown names and wrong types."""

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
    """The third part of a method's input, besides the checkpoint and the step.

    `windows` are the calibration tokens, int64 [windows, tokens], None for a method that looks at none.
    `validation`, for a search, are the tokens of the calibration named by the setting
    `validation_calibration`. Windows of `sampling: first` may be padded: `lengths` and
    `validation_lengths`, int64 [windows], count the tokens before the padding. `search` is the result
    of the method's `search`; in a search it is the result of the search that `earlier_search` names.
    `resume` is the path of a folder that outlives a killed job and is deleted once the job succeeds.
    `texts` are the texts that the setting `training_data` names, by their use. `parent` is the stored
    checkpoint, even if `compress` is handed a decoded copy of it.
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
        """The items of a long loop. A progress bar shows them if standard error is a terminal."""
        from meltpoint.progress import track

        return track(items, description)


class MethodFile(Protocol):
    """Declarations that every method's file needs; the other fields of `Facts` have defaults."""

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
        """Compresses a block in place, given the statistics of its linears' inputs by their names.

        A method that quantizes returns by name how each linear can be stored. Raises NotApplicable,
        with the reason, for a block, level or setting that the method cannot handle.
        """


class CheckpointMethod(MethodFile, Protocol):
    """A method that needs the whole model at once, or that a library computes."""

    def compress(
        self,
        source: Path,
        target: Path,
        level: Level | None,
        settings: MethodSettings,
        context: Context,
    ) -> dict[str, dict] | None:
        """Compresses the plain checkpoint in `source` into the empty folder `target`.

        The folder keeps the library's own format. The facts about each linear are read from it
        (`meltpoint.checkpoints.formats`), unless the function returns them by name. Raises
        NotApplicable, with the reason, for a model, level or setting that it cannot handle.
        """


class OptionalFunctions(Protocol):
    """Optional functions of a method's file, all of which have defaults."""

    def statistics(self, settings: MethodSettings) -> tuple[str, ...]:
        """Names of the accumulators that these settings need, instead of the declared ones."""

    def gradients(self, settings: MethodSettings) -> tuple[str, ...]:
        """Names of the gradient accumulators that these settings need, instead of the declared ones.

        A walk backwards through the model before the step collects them over the calibration windows
        (`meltpoint.model.backward_walk`). A method that needs the gradients of all blocks at once calls
        `backward_walk` itself, in `search` or in `compress`.
        """

    def needs_dense_outputs(self, settings: MethodSettings) -> bool:
        """True if these settings need `block.dense_outputs`, a block's outputs before the step."""

    def compressed_windows(self, settings: MethodSettings) -> int:
        """Number of windows to take through the compressed blocks, besides the dense model's pass.

        A method with `dense_statistics` finds them in `block.compressed_inputs`. They are the first
        windows of the calibration, and never more than it has.
        """

    def calibrated(self, level: Level, settings: MethodSettings) -> bool:
        """True if a step at this level reads the calibration. By default the settings decide."""

    def finish(self, parts: "model_parts.ModelParts", memory: dict[str, Any]) -> None:
        """Changes embeddings, final norm and head in place, after the last block.

        `memory` holds the values that `compress_block` put into `block.memory`.
        """

    def analysis(self, memory: dict[str, Any]) -> dict[str, Any]:
        """Contents of files about the step, by file name: JSON values for .json, texts for others.

        They are written into the folder `analysis` of the checkpoint. The checkpoints of later steps
        do not inherit them. `memory` holds the values that `compress_block` put into `block.memory`.
        """

    def search(self, source: Path, settings: MethodSettings, context: Context) -> dict[str, Any]:
        """Result that does not depend on the level: JSON values and arrays by name.

        The result is computed once, kept in a file of its own, and shared by all levels: `compress`
        finds it in `context.search`, `compress_block` in `block.search`. Settings that are neither in
        `search_settings` nor about the calibration have their defaults here.
        """

    def search_windows(
        self, settings: MethodSettings, blocks: int, windows: int
    ) -> tuple[int, int]:
        """Numbers of windows that its search sends through one block, and through the head.

        The estimate of cost uses them; only searches that take more than one walk need this function.
        blocks, windows: numbers of the model's blocks and of the calibration's windows.
        """

    def earlier_search(self, settings: MethodSettings) -> dict[str, Any] | None:
        """Settings, by name, that turn this search into one that must run before it, or None.

        The result of the earlier search is handed to this one as `context.search`. Searches that need
        the same earlier search share its result.
        """

    def rounds(self, settings: MethodSettings) -> int:
        """Number of rounds of a method with a search, by default one.

        Each round searches and compresses the checkpoint of the round before. Round k of n is handed
        k/n of the level; all rounds share one `block.memory`. A method with several rounds must be
        `calibrated`, so that the searches of the later rounds have windows.
        """


FUNCTIONS = {
    name: list(inspect.signature(function).parameters)[1:]
    for protocol in (BlockwiseMethod, CheckpointMethod, OptionalFunctions)
    for name, function in vars(protocol).items()
    if isinstance(function, FunctionType) and not name.startswith("_")
}
