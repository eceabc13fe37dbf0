"""The contract of an evaluation: the types that its file declares, is handed, and returns.

A file of this folder is a kind of evaluation; `meltpoint.evaluations` lists its declarations. This
module imports neither torch nor numpy, because a study reads the kinds where neither is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field

from meltpoint.compute import Compute
from meltpoint.section import Section

if TYPE_CHECKING:
    import numpy as np

Better = Literal["lower", "higher"]
# The score that transition points are fitted to, and that published perplexities are compared with.
PERPLEXITY = "perplexity"
# Contents of the files beside a cell, by their endings: an array for "nll.npy", one object for each
# document for "samples.jsonl".
Kept: TypeAlias = "Mapping[str, np.ndarray | Sequence[Mapping[str, Any]]]"


@dataclass(frozen=True)
class ScoreSpec:
    """A score's name in cells and studies, its unit, and whether lower or higher values are better.

    `label` names the score in the heads of tables and on axes. `label_unit` is printed behind a label
    that does not contain the unit. An `optional` score may be missing from a cell: whether a subject
    of the kind has it is only known after the measurement.
    """

    name: str
    unit: str
    better: Better
    label: str
    label_unit: str = ""
    optional: bool = False


class EvaluationSettings(Section):
    """What a study may say of an evaluation; the key that has the kind's name holds its subject."""

    model_config = ConfigDict(
        model_title_generator=lambda cls: f"{cls.__module__.rpartition('.')[2]} evaluation"
    )

    main: str | None = Field(
        None,
        description="The score that is meant where a table, figure or sweep names the evaluation "
        "alone. Default: the first score of its kind.",
    )


class DataSettings(EvaluationSettings):
    """Settings of an evaluation that reads documents from the files of a folder."""

    data: Path | None = Field(
        None, description="Folder of the files that it reads, relative to the study's file."
    )
    limit: int | None = Field(
        None, ge=1, description="Number of documents, the first of each file. Default: all."
    )


@dataclass(frozen=True)
class Needs:
    """Inputs of an evaluation besides the checkpoint that it measures.

    `tokens` names the corpus that it reads as one stream of tokens, `documents` the corpus that it
    reads as documents tokenised one by one. `data_files` are files in the folder that its key `data`
    names, `definitions` files of Meltpoint that say how documents are read. The contents of both are
    part of the job spec. `dense_checkpoint` is true if it reads the dense model too. `checkpoints` are
    other checkpoints of the study, each `model` or `model/chain`; with `same_vocabulary` their models
    must have the measured model's vocabulary. `dense_files` are endings of files beside the dense
    model's cell that are needed to measure a chain, such as ``("hidden.npy",)``; the kind's
    `write_dense` writes them. The dense model's cell and the files kept beside it need no mention:
    every evaluation gets them, for the differences.
    """

    tokens: str | None = None
    documents: str | None = None
    data_files: tuple[str, ...] = ()
    definitions: tuple[Path, ...] = ()
    dense_checkpoint: bool = False
    dense_files: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    same_vocabulary: bool = False

    def token_files(self, folder: str) -> dict[str, str]:
        """Paths of the corpora's files in a folder of tokens, by their names in `Inputs`."""
        files = {}
        if self.tokens is not None:
            stem = f"{folder}/{self.tokens}"
            files |= {"tokens": f"{stem}.npy", "token_ends": f"{stem}.ends.npy"}
        if self.documents is not None:
            stem = f"{folder}/{self.documents}.documents"
            files |= {"documents": f"{stem}.npy", "document_offsets": f"{stem}.offsets.npy"}
        return files


@dataclass(frozen=True)
class Inputs:
    """The files that `measure` may read. A file that the kind does not need is None.

    `tokens` holds int32 [tokens]. `token_ends` holds int64 [tokens]: the byte of the corpus's text at
    which each token ends; it is empty for a corpus without text. `documents` holds tokens,
    `document_offsets` the place where each document starts. `data` is the folder of the kind's data
    files. `checkpoints` are the paths of other checkpoints of the study by their names in `Needs`.
    `resume` is the path of a folder that outlives a killed job; the code that writes into it makes it.
    `key` names the evaluation in error messages. `compared` is true for a chain, which is compared with
    the dense model. `dense_files` are then the files that `Needs` asks for, by their endings. They are
    empty if the evaluation does not apply to the dense model.
    """

    checkpoint: Path
    compute: Compute
    key: str
    tokens: Path | None = None
    token_ends: Path | None = None
    documents: Path | None = None
    document_offsets: Path | None = None
    data: Path | None = None
    dense_checkpoint: Path | None = None
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    resume: Path | None = None
    compared: bool = False
    dense_files: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, str], compute: Compute, key: str) -> Inputs:
        """Inputs of a job from its files by name; names that are no field are ignored."""
        known = [name for name in cls.__dataclass_fields__ if name in files]
        return cls(compute=compute, key=key, **{name: Path(files[name]) for name in known})

    def with_checkpoints(self, names: Sequence[str], paths: Sequence[str]) -> Inputs:
        """A copy with the checkpoints at `paths`, by their names in the kind's `Needs`."""
        return replace(self, checkpoints=dict(zip(names, map(Path, paths), strict=True)))


@dataclass(frozen=True)
class Estimate:
    """A score's value and its standard error; `stderr` is None for an exact number.

    `units`, float64 [units], holds one number for each window, document or question. The standard error
    of their mean is that of the score. They pair a checkpoint with the dense model, unit by unit. A
    score whose `refused` gives a reason has no value.
    """

    value: float = float("nan")
    stderr: float | None = None
    units: np.ndarray | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Measurement:
    """The result of `measure`.

    `scores` are by name; `estimate` may add others, computed from the files in `kept`. `protocol` holds
    the facts that only the measurement knows, such as the engine. `device` is set if the measurement
    ran on another device than the study's. `warnings` are sentences about the numbers, which tables
    and the report repeat.
    """

    scores: Mapping[str, Estimate] = field(default_factory=dict)
    kept: Kept = field(default_factory=dict)
    protocol: Mapping[str, object] = field(default_factory=dict)
    device: str | None = None
    warnings: Sequence[str] = ()
