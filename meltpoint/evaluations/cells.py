"""Cells: all scores of one model, chain and evaluation, with their protocol and their origin."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from meltpoint.errors import MeltpointError
from meltpoint.evaluations.contract import Better
from meltpoint.files import write_json
from meltpoint.validation import problem

# NaN and infinities are the strings "nan", "inf" and "-inf" in a file.
Number = int | float


class Document(BaseModel):
    """A part of a cell: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Difference(Document):
    """A score minus the dense model's, with the standard error of this difference."""

    value: Number
    stderr: Number | None = None


class Score(Document):
    """One number of a cell; a refused score has a reason instead of a value."""

    status: Literal["ok", "refused"] = "ok"
    value: Number | None = None
    stderr: Number | None = None
    difference: Difference | None = None
    unit: str
    better: Better
    reason: str | None = Field(None, exclude_if=lambda reason: reason is None)

    @model_validator(mode="after")
    def _has_a_value_or_a_reason(self) -> Self:
        if self.status == "ok" and self.value is None:
            raise ValueError("a score whose status is ok has a value")
        if self.status == "refused" and (self.value is not None or not self.reason):
            raise ValueError("a score that is refused has a reason and no value")
        return self


class Cost(Document):
    """Cost of a measurement: seconds, peak memory of its process in bytes, and its device.

    `training` is the cost of the chain's last step, if that step fine-tuned the model.
    """

    seconds: float = 0.0
    peak_memory: int = 0
    device: str = ""
    training: dict[str, Any] | None = Field(None, exclude_if=lambda training: training is None)


class Cell(Document):
    """The result of one evaluation of one checkpoint.

    `requested` and `achieved` hold a fraction, or a width in bits, for each axis of compression.
    """

    model: str
    chain: str
    evaluation: str
    kind: str
    status: Literal["ok", "not_applicable"] = "ok"
    reason: str | None = None
    main: str
    scores: dict[str, Score] = Field(default_factory=dict)
    requested: dict[str, Number]
    achieved: dict[str, Number]
    protocol: dict[str, Any]
    provenance: dict[str, Any]
    cost: Cost = Cost()

    @model_validator(mode="after")
    def _has_scores_or_a_reason(self) -> Self:
        if self.status == "ok" and self.main not in self.scores:
            raise ValueError(f"a cell whose status is ok has its main score {self.main!r}")
        if self.status == "not_applicable" and (self.scores or not self.reason):
            raise ValueError("a cell that is not applicable has a reason and no scores")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """The cell of a JSON file.

        Raises MeltpointError, naming the file, for a cell of an older version and for a broken one.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict) and "evaluation" in content and "scores" not in content:
                raise MeltpointError(
                    f"{path} is a cell of an older version: delete {_study_of(path)} and run again"
                )
            return cls.model_validate(content)
        except (OSError, ValueError) as error:
            raise MeltpointError(
                f"{path} is not a cell that can be read ({_reason(error)}): delete it and run again"
            ) from None

    def write(self, path: Path) -> None:
        """Writes the cell as JSON, whole or not at all."""
        write_json(path, self.model_dump())

    @classmethod
    def not_applicable(cls, reason: str, **facts: Any) -> Self:
        """A cell without scores, for a checkpoint that was not made or cannot be measured.

        facts: the cell's other fields.
        """
        return cls(status="not_applicable", reason=reason, **facts)


def _study_of(path: Path) -> str:
    """Path of the study's folder of results that a cell is in, for an error message."""
    parts = path.parts
    return str(Path(*parts[: parts.index("cells")])) if "cells" in parts[1:] else "its results"


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        return f"{key}: {problem(first)}" if key else problem(first)
    return f"{type(error).__name__}: {error}"
