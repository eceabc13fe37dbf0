"""The study: the one source of its schema, its defaults and its reference page."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)

from meltpoint.demo.recipe import Recipe
from meltpoint.errors import MeltpointError
from meltpoint.text import did_you_mean

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
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

    perplexity: Name = Field(description="one of the study's corpora")
    window: int = Field(ge=2, description="tokens of a window")
    windows: int | None = Field(None, ge=2, description="the first so many only; unset: all")


class SizeEvaluation(Section):
    """What the checkpoint weighs; all four counts are in the cell, this one is its value."""

    size: Literal["bits_per_weight", "parameters", "nonzeros", "bytes"] = Field(
        description="which count is the cell's value"
    )


class Sweep(Section):
    """The product of models, methods, levels and settings: one line of config, many cells."""

    models: list[Name] = Field(min_length=1, description="of the study's models")
    methods: list[str] = Field(
        min_length=1, description="names, with settings where they differ: `sparsegpt,blocksize=64`"
    )
    levels: list[Any] = Field(
        default_factory=list, description='0.5, "2:4" (in quotes), 4bit, q4_k_m'
    )
    settings: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="any setting of the methods: all combinations; a method without the setting "
        "is run once",
    )
    evaluations: list[Name] = Field(min_length=1, description="of the study's evaluations")


class Chains(Section):
    """Chains written out: `wanda@0.5+sparsegpt@0.7`."""

    models: list[Name] = Field(min_length=1, description="of the study's models")
    chains: list[str] = Field(min_length=1, description="steps joined by `+`")
    evaluations: list[Name] = Field(min_length=1, description="of the study's evaluations")


class Table(Section):
    """A table of one evaluation over a sweep: CSV, Markdown, LaTeX."""

    of: Name = Field(description="a sweep, or a group of chains")
    value: Name = Field(description="the evaluation")
    rows: Literal["method"] = Field("method", description="what the rows are")
    columns: Literal["level"] = Field("level", description="what the columns are")
    show: Literal["value", "difference"] = Field(
        "value", description="the value, or its paired difference to dense"
    )
    error: bool = Field(False, description="print ± the standard error")
    digits: int = Field(2, ge=0, le=8, description="after the point")
    mark: bool = Field(True, description="the best of a column bold, the second underlined")
    order: list[str] = Field(default_factory=list, description="the rows' order; unset: as swept")
    caption: str = Field("", description="above the table")
    published: Name | None = Field(
        None, description="a table of resources/published whose rows are put beside, by its name"
    )


class Figure(Section):
    """A figure of one evaluation over a sweep: SVG and PNG."""

    of: Name = Field(description="a sweep")
    value: Name = Field(description="the evaluation")
    kind: Literal["curves"] = Field("curves", description="the kind of figure")
    x: Literal["level"] = Field("level", description="what lies along the axis")
    fit: Literal["transition"] | None = Field(
        None, description="`transition`: draw the fitted curves and their transition points"
    )
    colors: dict[str, str] = Field(default_factory=dict, description="of methods, by name")
    labels: dict[str, str] = Field(default_factory=dict, description="what the legend calls them")
    order: list[str] = Field(default_factory=list, description="the legend's order")
    caption: str = Field("", description="for the report")
    width: float = Field(3.35, gt=1, le=20, description="of a panel, in inches")


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


def _by_key(*keys: str):
    """Tells the members of a union apart by the key that only they have."""

    def tag(value: Any) -> str | None:
        have = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        return next((key for key in keys if key in have), None)

    expected = " or ".join(keys)
    return Discriminator(
        tag,
        custom_error_type="kind",
        custom_error_message=f"needs one of the keys {expected}",
    )


Model = Annotated[
    Annotated[TrainedModel, Tag("train")]
    | Annotated[HubModel, Tag("hub")]
    | Annotated[LocalModel, Tag("path")],
    _by_key("train", "hub", "path"),
]
Corpus = Annotated[
    Annotated[BuiltinCorpus, Tag("builtin")]
    | Annotated[HubCorpus, Tag("hub")]
    | Annotated[LocalCorpus, Tag("path")]
    | Annotated[TokenCorpus, Tag("tokens")],
    _by_key("builtin", "hub", "path", "tokens"),
]
Calibration = Annotated[
    Annotated[DrawnCalibration, Tag("corpus")] | Annotated[GivenCalibration, Tag("windows")],
    _by_key("corpus", "windows"),
]
Evaluation = Annotated[
    Annotated[PerplexityEvaluation, Tag("perplexity")] | Annotated[SizeEvaluation, Tag("size")],
    _by_key("perplexity", "size"),
]


class StudyConfig(Section):
    """A study: models, texts, measurements, what to sweep, what to draw."""

    study: Name = Field(description="its name: the folder below results/")
    models: dict[Name, Model] = Field(min_length=1, description="base checkpoints, by name")
    corpora: dict[Name, Corpus] = Field(default_factory=dict, description="texts, by name")
    calibrations: dict[Name, Calibration] = Field(
        default_factory=dict, description="the tokens that a method may look at, by name"
    )
    evaluations: dict[Name, Evaluation] = Field(min_length=1, description="measurements, by name")
    sweeps: dict[Name, Sweep] = Field(default_factory=dict, description="by name")
    chains: dict[Name, Chains] = Field(
        default_factory=dict, description="groups of chains, by name"
    )
    tables: dict[Name, Table] = Field(default_factory=dict, description="by name")
    figures: dict[Name, Figure] = Field(default_factory=dict, description="by name")
    compute: ComputeSection = Field(
        default_factory=ComputeSection, description="where and how jobs compute"
    )
    keep_checkpoints: Literal["all", "prefixes"] = Field(
        "all",
        description="`all`, or `prefixes`: a checkpoint on which nothing builds is deleted as soon "
        "as it is evaluated; a new evaluation then makes it again",
    )

    @model_validator(mode="after")
    def _references(self):
        names = {"corpus": self.corpora, "model": self.models, "evaluation": self.evaluations}
        groups = {**self.sweeps, **self.chains}
        if both := sorted(set(self.sweeps) & set(self.chains)):
            raise ValueError(f"chains.{both[0]}: a sweep has the same name")
        for key, kind, name in self._named():
            if name not in (known := names.get(kind, groups)):
                raise ValueError(f"{key}: undefined {kind} {name!r}{did_you_mean(name, known)}")
        for key, section, part in self._drawn(groups):
            if part.value not in section.evaluations:
                raise ValueError(
                    f"{key}.value: {part.of} is not evaluated on {part.value!r}"
                    f"{did_you_mean(part.value, section.evaluations)}"
                )
        return self

    def _named(self):
        """Every place where the study names one of its own parts: (key, kind, name)."""
        for name, calibration in self.calibrations.items():
            if isinstance(calibration, DrawnCalibration):
                yield f"calibrations.{name}.corpus", "corpus", calibration.corpus
        for name, evaluation in self.evaluations.items():
            if isinstance(evaluation, PerplexityEvaluation):
                yield f"evaluations.{name}.perplexity", "corpus", evaluation.perplexity
        for kind in ("sweeps", "chains"):
            for name, section in getattr(self, kind).items():
                yield from ((f"{kind}.{name}.models", "model", m) for m in section.models)
                yield from (
                    (f"{kind}.{name}.evaluations", "evaluation", e) for e in section.evaluations
                )
        for kind in ("tables", "figures"):
            for name, part in getattr(self, kind).items():
                yield f"{kind}.{name}.of", "sweep or group of chains", part.of

    def _drawn(self, groups):
        for kind in ("tables", "figures"):
            for name, part in getattr(self, kind).items():
                yield f"{kind}.{name}", groups[part.of], part


def load(raw: dict, source: str) -> StudyConfig:
    """The study of a YAML file's content; `source` is the file's name, for the message.

    Raises MeltpointError with one sentence that names the first key that is wrong.
    """
    try:
        return StudyConfig.model_validate(raw)
    except ValidationError as error:
        raise MeltpointError(f"{source}: {_sentence(error.errors()[0])}") from None


UNIONS = {"models", "corpora", "calibrations", "evaluations"}


def _sentence(error: dict) -> str:
    key = _key(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key"
    if error["type"] == "missing":
        return f"{key}: this key is needed"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float) else ""
    return f"{key}: {message}{shown}" if key else message


def _key(location: tuple) -> str:
    """The key as it stands in the study: pydantic adds which member of a union it tried."""
    parts = [str(part) for part in location if part != "[key]"]
    if parts and parts[0] in UNIONS:
        del parts[2:3]
    if parts[:2] == ["compute", "batch"]:
        del parts[2:]
    return ".".join(parts)
