"""`study.json`: the inputs of a study's tables and fits, so that its results can be recomputed."""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from meltpoint.errors import MeltpointError
from meltpoint.files import write_json

FILE = "study.json"
# Model, chain and evaluation.
CellName = tuple[str, str, str]


class Document(BaseModel):
    """A part of the record: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(Document):
    """Inputs of a table, or of the fits of a sweep.

    `cells` are the cells that it reads, in order. `steps` holds columns of the tidy frame for each
    chain. `keys` are the study's keys of the table, the scores whose curves are fitted, or the levels
    that a prediction holds out.
    """

    cells: list[CellName]
    steps: dict[str, dict[str, str]]
    keys: dict[str, Any] = {}


class Record(Document):
    """The content of `study.json`: the study's keys, its cells, and by name its tables and fits."""

    study: dict[str, Any]
    cells: list[CellName]
    tables: dict[str, Shown]
    transitions: dict[str, Shown]
    predictions: dict[str, Shown]
    figures: list[str]

    @classmethod
    def read(cls, results: Path) -> Self:
        """The record of a folder of results; raises MeltpointError, naming the file, without one."""
        path = results / FILE
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise MeltpointError(
                f"{path} is missing: name the folder of a study's results, such as results/demo, in "
                "which a run has written it"
            ) from None
        except (OSError, ValueError) as error:
            wrong = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
            raise MeltpointError(
                f"{path} cannot be read ({wrong}): delete it and run the study again"
            ) from None

    def write(self, path: Path) -> None:
        """Writes the record as JSON, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))
