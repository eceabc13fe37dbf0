"""The sections of a study: what each of its keys may say, with defaults and descriptions."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from meltpoint.section import Name, ScoreName, Section
from meltpoint.study.model_sections import Repository, Revision


class BuiltinCorpus(Section):
    """Text that every Python has: the standard library's docstrings and help topics."""

    builtin: Literal["python-docs"] = Field(
        description="Name of the text: the standard library's documentation."
    )
    split: Literal["train", "test"] = Field(
        description="Part of the text, which is split by source file."
    )
    join: str = Field("\n\n", description="Text between two documents in the stream.")


class Instructions(Section):
    """Columns of a set of instructions, and how a record becomes a text."""

    prompt: str = Field("instruction", description="Name of the column that holds the prompt.")
    query: str | None = Field(
        None, description="Name of the column that holds a query or input behind the prompt."
    )
    response: str | None = Field(
        "output",
        description="Name of the column that holds the response. Fine-tuning learns it alone; null: "
        "the set has none, and all of its text is learned.",
    )
    template: Literal["plain", "alpaca"] = Field(
        "plain",
        description="Text of a record. `plain`: prompt, query and response on lines of their own. "
        "`alpaca`: the headings that Alpaca has between them.",
    )


INSTRUCTIONS = Field(
    None,
    description="Columns of a set of instructions, in the place of `field`, such as "
    "`{prompt: instruction, query: input, response: output, template: alpaca}`. Default: the corpus is "
    "plain text.",
)


class HubCorpus(Section):
    """A data set of the Hugging Face hub."""

    hub: Repository = Field(description="Name of the data set: `owner/name`.")
    revision: Revision = Field(description="Commit (40 digits), or `refs/convert/parquet`.")
    config: str | None = Field(None, description="Name of the data set's configuration.")
    data_files: str | None = Field(
        None, description="A file of the data set, such as one shard of C4."
    )
    split: str = Field(
        description="Split of the data set: train, validation or test. Slices like `train[:1%]` work."
    )
    field: str = Field("text", description="Name of the column that holds the text.")
    instructions: Instructions | None = INSTRUCTIONS
    join: str = Field("\n\n", description="Text between two documents in the stream.")


class LocalCorpus(Section):
    """A file of texts: plain, JSON or JSON lines, a CSV or TSV table, parquet; compressed or not."""

    path: Path = Field(description="Path of the file, relative to the study's file.")
    format: Literal["text", "json", "csv", "tsv", "parquet"] | None = Field(
        None,
        description="Format of the file. `json` is a list, an object of records, or JSON lines. "
        "Default: by the suffix.",
    )
    field: str = Field(
        "text", description="Name of the key or column that holds the text. Plain text has none."
    )
    instructions: Instructions | None = INSTRUCTIONS
    lines: Literal["keep", "strip"] | None = Field(
        None,
        description="Lines of a text file as documents. `strip`: without white space at their ends "
        "(Penn Treebank). `keep`: with their newlines, blank lines being empty (WikiText as its data "
        "set has it). Default: the file is one document.",
    )
    documents: str | None = Field(
        None,
        pattern=r"^\d*:\d*$",
        description="Slice of the documents, counted from 0: `700:` leaves out the first 700.",
    )
    join: str = Field("\n\n", description="Text between two documents in the stream.")


class TokenCorpus(Section):
    """Integers that are tokens already, used as they are."""

    tokens: Path = Field(description="Path of a .npy file, relative to the study's file.")


class DrawnCalibration(Section):
    """Calibration windows drawn from a corpus as the official loaders draw them."""

    corpus: Name = Field(description="Name of one of the study's corpora.")
    samples: int = Field(128, ge=1, description="Number of windows to draw.")
    length: int = Field(2048, ge=2, description="Number of tokens of a window.")
    seed: int = Field(0, ge=0, description="Seed of the random draw.")
    sampling: Literal["stream", "documents", "first"] = Field(
        "stream",
        description="`stream`: starts are drawn anywhere in the joined corpus (WikiText, PTB). "
        "`documents`: a document is drawn, then a start in it (C4). `first`: the first documents are "
        "taken in order, cut at `length` or padded with the end token (the parameter search).",
    )
    min_characters: int = Field(
        50,
        ge=1,
        description="With `sampling: first`: number of characters that a document has at least.",
    )

    @model_validator(mode="after")
    def _has_characters_for_first(self) -> Self:
        if "min_characters" in self.model_fields_set and self.sampling != "first":
            raise ValueError("min_characters belongs to sampling: first; leave it out")
        return self


class GivenCalibration(Section):
    """Calibration windows that are tokens already, used as they are."""

    windows: Path = Field(description="Path of a .npy file of integers [samples, length].")


class OfModels(Section):
    """What is done to some of the study's models."""

    models: list[Name] = Field(min_length=1, description="Names of some of the study's models.")


class Product(Section):
    """The product of methods, levels and settings."""

    methods: list[str] = Field(
        min_length=1,
        description="Methods, with settings that are not the default: `sparsegpt,blocksize=64`.",
    )
    levels: list[Any] = Field(
        default_factory=list,
        description='Levels of the methods: 0.5, "2:4" (in quotes), 4bit, q4_k_m.',
    )
    settings: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Values of any settings of the methods, of which all combinations are run. A "
        "method without the setting is run once.",
    )


class Prediction(Section):
    """Levels that a curve is fitted without, and then compared with."""

    hold_out: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        min_length=1, description="Sparsities of the sweep that the fit does not see: `[0.6, 0.7]`."
    )


class Sweep(Product, OfModels):
    """The product of models, methods, levels and settings: one line of config, many cells."""

    predict: Prediction | None = Field(
        None,
        description="Levels to predict from the others: `{hold_out: [0.6]}`. Curves are fitted without "
        "these levels, and `transitions/{sweep}.predictions.csv` says how far each prediction is from "
        "the measured value and whether its interval holds it. Default: none.",
    )

    evaluations: list[ScoreName] = Field(
        min_length=1,
        description="Names of some of the study's evaluations. `evaluation.score` is one as well, and "
        "all of its scores are measured.",
    )
    transitions: list[ScoreName] = Field(
        default_factory=list,
        description="Scores whose curves are fitted besides the perplexities: KL divergences, and "
        "fractions that fall, such as accuracies: `[docs-256.kl, zeroshot.piqa.acc]`. Default: none.",
    )


class Stage(Product):
    """One step of many chains: any of its methods at any of its levels."""

    skip: bool = Field(True, description="Whether there are chains without this stage too.")


class Chains(OfModels):
    """Chains written out, `wanda@0.5+sparsegpt@0.7`, the product of stages, or those of others."""

    chains: list[str] = Field(
        default_factory=list, description="Chains, each of steps joined by `+`."
    )
    stages: list[Stage] = Field(
        default_factory=list,
        description="Stages in their order. There is a chain for each choice of a step from each "
        "stage, and for each choice without some of them (`skip`).",
    )
    include: list[Name] = Field(
        default_factory=list,
        description="Sweeps and other groups whose chains belong to this group too, so that a table or "
        "figure can show them together.",
    )
    evaluations: list[ScoreName] = Field(
        min_length=1,
        description="Names of some of the study's evaluations. `evaluation.score` is one as well, and "
        "all of its scores are measured.",
    )

    @model_validator(mode="after")
    def _holds_chains(self) -> Self:
        if not (self.chains or self.stages or self.include):
            raise ValueError(
                "write chains out under `chains`, give their `stages`, or `include` other groups"
            )
        return self


class ComputeSection(Section):
    """Where and how jobs compute. Of these only `dtype` makes a cell stale."""

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$",
        description="Device: `auto` (an accelerator if there is one), `cpu`, `cuda` or `cuda:1`.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Dtype that weights are computed with and stored in."
    )
    threads: int = Field(
        1, ge=1, description="Number of threads of a job on the CPU, whatever `--cores` is."
    )
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="Number of windows that run together. `auto` chooses it by the device."
    )
    stream: Literal["auto"] | bool = Field(
        "auto",
        description="Whether a model is evaluated block by block, with one block's weights and the "
        "hidden states of all windows in memory, not the model. `auto`: where its weights take more "
        "than `memory`.",
    )
    memory: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="Memory that a job's weights or hidden states may take, in GB (1e9 bytes). What is "
        "more is streamed or kept in files. `auto`: four fifths of what is available on the device.",
    )
    resume: Literal["auto"] | bool = Field(
        "auto",
        description="Whether a compression that works block by block keeps its state beside the "
        "checkpoint, so that a killed job goes on at the block it had reached. `auto`: where, by the "
        "time of its first blocks, it takes more than ten minutes.",
    )
