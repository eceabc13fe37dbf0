"""The contract of an evaluation: what its file declares, what it is handed, and what it returns.

A file of this folder is a kind of evaluation; `meltpoint.evaluations` lists what it declares. Nothing
here needs torch or numpy, as a study reads the kinds where neither is installed.
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
# What is kept beside a cell, by the ending of its file: an array ("nll.npy"), or an object for each
# document ("samples.jsonl").
Kept: TypeAlias = "Mapping[str, np.ndarray | Sequence[Mapping[str, Any]]]"


@dataclass(frozen=True)
class ScoreSpec:
    """What a score is: its name in cells and studies, its unit, and which values are better.

    `label` names it in the heads of tables and on axes. `label_unit` is the unit that is printed
    behind the label, for a label that does not say it. An `optional` score is one that only some
    subjects of the kind have, which is not known before it is measured.
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
    """What an evaluation reads besides the checkpoint.

    `tokens` is the corpus that it reads as one stream of tokens, `documents` the one that it reads as
    documents tokenised one by one. `data_files` are files of the folder that its key `data` names:
    their contents are part of the job spec. So are those of `definitions`, files that ship with
    Meltpoint and say how documents are read. `dense_checkpoint` says that it reads the dense model too,
    `checkpoints` which others of the study: `model`, or `model/chain`.
    The dense model's cell, and what is kept beside it, come by themselves, for the differences.
    `dense_files` are endings of files beside the dense model's cell that chains are measured with, such
    as ``("hidden.npy",)``: the kind's `write_dense` writes them.
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
        """Files of its corpora in a folder of tokens, by their names in `Inputs`."""
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
    """The files that `measure` may read: those that the kind needs, None for all others.

    `tokens` is int32 [tokens], `token_ends` int64 [tokens], the byte of the corpus's text at which each
    token ends (empty where there is no text). `documents` are tokens and `document_offsets` where each
    document starts. `data` is the folder of the kind's data files, `checkpoints` the paths of other
    checkpoints of the study by their names in `Needs`. `resume` is a folder that is still there when a
    killed job runs again, made by whoever writes into it. `key` names the evaluation in the sentence of
    an error. `compared` is true for a chain, which is compared with the dense model; `dense_files` are
    then the files that `Needs` asks for, by their endings, none where the dense cell does not apply.
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
        """The inputs of a job from its files by name; other files are passed over."""
        known = [name for name in cls.__dataclass_fields__ if name in files]
        return cls(compute=compute, key=key, **{name: Path(files[name]) for name in known})

    def with_checkpoints(self, names: Sequence[str], paths: Sequence[str]) -> Inputs:
        """These inputs with other checkpoints, whose names are the kind's needs."""
        return replace(self, checkpoints=dict(zip(names, map(Path, paths), strict=True)))


@dataclass(frozen=True)
class Estimate:
    """A score's value and its standard error, None for an exact number.

    `units` is float64 [units]: per window, document or question a number whose mean has the error of
    the score, by which a checkpoint is paired with the dense model. Where `refused` gives a reason the
    score has no value.
    """

    value: float = float("nan")
    stderr: float | None = None
    units: np.ndarray | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Measurement:
    """What `measure` returns.

    `scores` by name, besides those that `estimate` makes of what is `kept`; `protocol` is what only the
    measurement knows of its protocol, such as the engine; `device` is where it ran, where that is not
    the study's device. `warnings` are sentences about the numbers, which tables and the report repeat.
    """

    scores: Mapping[str, Estimate] = field(default_factory=dict)
    kept: Kept = field(default_factory=dict)
    protocol: Mapping[str, object] = field(default_factory=dict)
    device: str | None = None
    warnings: Sequence[str] = ()
