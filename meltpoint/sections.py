"""The sections of a study: what each of its keys may say, with defaults and descriptions."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from meltpoint import published
from meltpoint.demo.recipe import Recipe
from meltpoint.text import did_you_mean

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Digits = Annotated[int, Field(ge=0, le=8)]
Revision = Annotated[
    str, StringConstraints(pattern=r"^([0-9a-f]{40}|refs/(pr/\d+|convert/parquet))$")
]


class Section(BaseModel):
    """A part of the study: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainedModel(Section):
    """A model that the workflow trains itself, offline: the demo."""

    train: Recipe = Field(description="the training's settings; `{}` for the defaults")


class HubModel(Section):
    """A model of the Hugging Face hub, linked from the hub's cache."""

    hub: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", description="the repository, `owner/name`")
    revision: Revision = Field(
        description="the commit (40 digits), or `refs/pr/N` where only that one has safetensors"
    )


class LocalModel(Section):
    """A Hugging Face folder on this machine, linked."""

    path: Path = Field(description="the folder, relative to the study's file")


class BuiltinCorpus(Section):
    """Text that every Python has: the standard library's docstrings and help topics."""

    builtin: Literal["python-docs"] = Field(description="the corpus")
    split: Literal["train", "test"] = Field(description="split by source file")
    join: str = Field("\n\n", description="what stands between two documents in the stream")


class HubCorpus(Section):
    """A data set of the Hugging Face hub."""

    hub: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", description="the data set, `owner/name`")
    revision: Revision = Field(description="the commit (40 digits), or `refs/convert/parquet`")
    config: str | None = Field(None, description="the data set's configuration")
    data_files: str | None = Field(None, description="a file of it, such as one shard of C4")
    split: str = Field(description="train, validation, test; slices such as `train[:1%]` work")
    field: str = Field("text", description="the column that holds the text")
    join: str = Field("\n\n", description="what stands between two documents in the stream")


class LocalCorpus(Section):
    """A text file (one document, or one a line), .jsonl or .json."""

    path: Path = Field(description="the file, relative to the study's file")
    field: str = Field("text", description="the key that holds the text, in .jsonl and .json")
    lines: Literal["keep", "strip"] | None = Field(
        None,
        description="in a text file: unset, it is one document; `strip`, each line is one, without "
        "its ends (Penn Treebank); `keep`, each line is one, with its newline, and blank lines are "
        "empty (WikiText as its data set has it)",
    )
    documents: str | None = Field(
        None,
        pattern=r"^\d*:\d*$",
        description="which documents, as a slice counted from 0: `700:` leaves out the first 700",
    )
    join: str = Field("\n\n", description="what stands between two documents in the stream")


class TokenCorpus(Section):
    """Integers that are tokens already, used as they are."""

    tokens: Path = Field(description="a .npy file, relative to the study's file")


class DrawnCalibration(Section):
    """Calibration windows drawn from a corpus as the official loaders draw them."""

    corpus: Name = Field(description="one of the study's corpora")
    samples: int = Field(128, ge=1, description="how many windows")
    length: int = Field(2048, ge=2, description="tokens of a window")
    seed: int = Field(0, ge=0, description="of the draw")
    sampling: Literal["stream", "documents"] = Field(
        "stream",
        description="`stream`: starts drawn anywhere in the joined corpus (WikiText, PTB); "
        "`documents`: a document is drawn, then a start in it (C4)",
    )


class GivenCalibration(Section):
    """Calibration windows that are tokens already, used as they are."""

    windows: Path = Field(description="a .npy file of integers [samples, length]")


class PerplexityEvaluation(Section):
    """Perplexity over the non-overlapping windows of a corpus."""

    kind: ClassVar[str] = "perplexity"
    perplexity: Name = Field(description="one of the study's corpora")
    window: int = Field(ge=2, description="tokens of a window")
    windows: int | None = Field(None, ge=2, description="the first so many only; unset: all")
    scoring: Literal["all", "llama.cpp"] = Field(
        "all",
        description="`all` predicted tokens, as the pruning and quantization papers have it; "
        "`llama.cpp`: those of the second half of each window, which begins with the "
        "beginning-of-text token, with that program's ± (a column of its own: never compare the two)",
    )


class SizeEvaluation(Section):
    """What the checkpoint weighs; all four counts are in the cell, this one is its value."""

    kind: ClassVar[str] = "size"
    size: Literal["bits_per_weight", "parameters", "nonzeros", "bytes"] = Field(
        description="which count is the cell's value"
    )


class SpeedEvaluation(Section):
    """How fast a checkpoint runs in the program it is meant for, one sequence at a time.

    All four measurements are in the cell, this one is its value.
    """

    kind: ClassVar[str] = "speed"
    speed: Literal[
        "generated_tokens_per_second", "prompt_tokens_per_second", "load_seconds", "peak_memory"
    ] = Field(description="which measurement is the cell's value")
    prompt: int = Field(512, ge=1, description="tokens that are read at once")
    generated: int = Field(128, ge=1, description="tokens that are then made one by one")
    runs: int = Field(5, ge=2, description="after one to warm up: the median is taken")


class OfModels(Section):
    """What is done to some of the study's models."""

    models: list[Name] = Field(min_length=1, description="of the study's models")


class Product(Section):
    """The product of methods, levels and settings."""

    methods: list[str] = Field(
        min_length=1, description="names, with settings where they differ: `sparsegpt,blocksize=64`"
    )
    levels: list[Any] = Field(
        default_factory=list, description='0.5, "2:4" (in quotes), 4bit, q4_k_m'
    )
    settings: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="any setting of the methods: all combinations; a method without the setting "
        "is run once",
    )


class Sweep(Product, OfModels):
    """The product of models, methods, levels and settings: one line of config, many cells."""

    evaluations: list[Name] = Field(min_length=1, description="of the study's evaluations")


class Stage(Product):
    """One step of many chains: any of its methods at any of its levels."""

    skip: bool = Field(True, description="whether there are chains without it too")


class Chains(OfModels):
    """Chains written out, `wanda@0.5+sparsegpt@0.7`, or the product of stages."""

    chains: list[str] = Field(default_factory=list, description="steps joined by `+`")
    stages: list[Stage] = Field(
        default_factory=list,
        description="what is done first, then, and so on: a chain for each choice of a step from "
        "each stage, and for each without some of them (`skip`)",
    )
    evaluations: list[Name] = Field(min_length=1, description="of the study's evaluations")

    @model_validator(mode="after")
    def _holds_chains(self) -> Self:
        if not self.chains and not self.stages:
            raise ValueError("write chains out under `chains`, or give their `stages`")
        return self


def published_table(name: str | None) -> str | None:
    """The name, where it is that of a published table."""
    if name is not None and name not in published.names():
        raise ValueError(f"unknown published table{did_you_mean(name, published.names())}")
    return name


class Table(Section):
    """A table over a sweep: CSV, Markdown, LaTeX."""

    of: Name = Field(description="a sweep, or a group of chains")
    value: Name | Annotated[list[Name], Field(min_length=1)] = Field(
        description="the evaluation; where the columns are evaluations, the list of them"
    )
    rows: Literal["method"] = Field("method", description="what the rows are")
    columns: Literal["level", "evaluation"] = Field(
        "level",
        description="`level`: a column for each, of one evaluation; `evaluation`: a column for each "
        "of several, and a row for each method and level",
    )
    show: Literal["value", "difference"] = Field(
        "value", description="the value, or its paired difference to dense"
    )
    error: bool = Field(False, description="print ± the standard error")
    digits: Digits | dict[Name, Digits] = Field(
        2, description="after the point; or by evaluation: `{docs-256: 3, size: 1}` (others: 2)"
    )
    mark: bool = Field(True, description="the best of a column bold, the second underlined")
    order: list[str] = Field(default_factory=list, description="the rows' order; unset: as swept")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="what rows are called, by method and settings as in a chain: "
        '`{"wanda,allocation=owl": Wanda-OWL}`',
    )
    achieved: bool = Field(True, description="print the achieved sparsity beside the values")
    over: Name | None = Field(
        None, description="a setting, such as `seed`: a row for all its values, mean ± deviation"
    )
    footnotes: list[str] = Field(default_factory=list, description="lines below the table")
    caption: str = Field("", description="above the table")
    published: Name | None = Field(
        None,
        description="a table of resources/published, by its name, whose perplexities are put below: "
        "`mpt_unstructured_ppl`, `mpt_quant_ppl`, `mpt_combined_ppl` and others by method and level, "
        "`mpt_gguf` and `mpt_gguf_families` by model and scheme",
    )
    beside: dict[str, str] = Field(
        default_factory=dict,
        description="of the published table only these methods, by the row of ours that each stands "
        "with, and the difference: `{ria: RIA}`; where it holds several models, these models by ours: "
        "`{llama2-7b: LLaMA-2-7B}`",
    )

    _is_there = field_validator("published")(published_table)

    @property
    def evaluations(self) -> list[str]:
        """The evaluations that it shows."""
        return [self.value] if isinstance(self.value, str) else self.value

    def places(self, evaluation: str) -> int:
        """Digits after the point of an evaluation."""
        return self.digits if isinstance(self.digits, int) else self.digits.get(evaluation, 2)

    @model_validator(mode="after")
    def _value_is_what_columns_need(self) -> Self:
        if isinstance(self.value, str) != (self.columns == "level"):
            raise ValueError(
                "value: one evaluation where the columns are levels, a list of them where they are "
                "evaluations (`columns: evaluation`)"
            )
        if len(set(self.evaluations)) < len(self.evaluations):
            raise ValueError("value: an evaluation is there twice")
        return self

    @model_validator(mode="after")
    def _digits_are_of_what_it_shows(self) -> Self:
        named = self.digits if isinstance(self.digits, dict) else {}
        for name in named:
            if name not in self.evaluations:
                raise ValueError(
                    f"digits: {name!r} is not shown{did_you_mean(name, self.evaluations)}"
                )
        return self

    @model_validator(mode="after")
    def _published_values_are_values(self) -> Self:
        if self.beside and self.published is None:
            raise ValueError("beside: say which published table it is, with `published`")
        if self.published is not None and self.show == "difference":
            raise ValueError("published: what is published has no difference to our dense model")
        return self


class Figure(Section):
    """A figure of an evaluation over a sweep: SVG and PNG."""

    of: Name = Field(description="a sweep, or a group of chains")
    value: Name = Field(description="the evaluation")
    kind: Literal["curves", "spread", "tradeoff", "contour"] = Field(
        "curves",
        description="`curves`: perplexity over sparsity; `spread`: how far values spread over a "
        "setting such as the calibration's seed, or from method to method; `tradeoff`: perplexity "
        "over what the model weighs, or another evaluation; `contour`: perplexity over the sparsity "
        "of a pruning step and the bits of a quantization step",
    )
    x: Name = Field(
        "level",
        description="what lies along the axis; of a spread `method`, or a setting; of a tradeoff "
        "`level`, for nominal bits, or an evaluation",
    )
    y: Name = Field(
        "level",
        description="of a contour: what the quantization's bits are, `level`, for nominal ones, or "
        "an evaluation such as bits per weight",
    )
    over: Name | None = Field(
        None, description="of a spread: the setting, such as `seed`; unset: one value each"
    )
    levels: list[Any] = Field(
        default_factory=list, description="of a spread: a panel for each; unset: all"
    )
    fit: Literal["transition"] | None = Field(
        None, description="`transition`: draw the fitted curves and their transition points"
    )
    colors: dict[str, str] = Field(default_factory=dict, description="of methods, by name")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="what the legend calls them, by method and settings as in a chain",
    )
    order: list[str] = Field(default_factory=list, description="the legend's order")
    caption: str = Field("", description="for the report")
    published: Name | None = Field(
        None,
        description="a table of resources/published, by its name, whose curves of the same methods "
        "are drawn beside: dashed, with hollow markers (of curves and tradeoffs)",
    )
    beside: dict[str, str] = Field(
        default_factory=dict,
        description="of a published table that holds several models: these, by ours: "
        "`{llama2-7b: LLaMA-2-7B}`",
    )
    width: float = Field(3.35, gt=1, le=20, description="of a panel, in inches")

    _is_there = field_validator("published")(published_table)

    @property
    def evaluations(self) -> list[str]:
        """The evaluations that it shows."""
        along = {"tradeoff": self.x, "contour": self.y}.get(self.kind, "level")
        return [self.value, *([along] if along != "level" else [])]

    @model_validator(mode="after")
    def _axes_are_of_its_kind(self) -> Self:
        if self.kind != "tradeoff" and (self.kind == "spread") == (self.x == "level"):
            raise ValueError(
                "x: curves and contours lie along `level`, a spread along `method` or a setting"
            )
        if self.kind != "contour" and self.y != "level":
            raise ValueError("y: only a contour has bits along it")
        if self.value in self.evaluations[1:]:
            raise ValueError(f"{self.value} is drawn over itself: name another evaluation")
        return self

    @model_validator(mode="after")
    def _published_has_a_place(self) -> Self:
        if self.published is not None and self.kind not in ("curves", "tradeoff"):
            raise ValueError(f"published: a {self.kind} has no place for it")
        if self.beside and self.published is None:
            raise ValueError("beside: say which published table it is, with `published`")
        return self


class ComputeSection(Section):
    """Where and how jobs compute. Of these only `dtype` makes a cell stale."""

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$",
        description="`auto` (an accelerator if there is one), `cpu`, `cuda`, `cuda:1`",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="in which weights are computed with and stored"
    )
    threads: int = Field(1, ge=1, description="of a job on the CPU, whatever --cores is")
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="windows that run together; `auto` is chosen by the device"
    )
