"""`study.json`: what a study's tables and fits are made of, so that its results can be recomputed."""

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
    """What a table or the fits of a sweep are made of.

    `cells` are those that it reads, in their order; `steps` is what the tidy frame says of each chain;
    `keys` are those of the table as the study declares it, the scores whose curves are fitted, or the
    levels that a prediction holds out.
    """

    cells: list[CellName]
    steps: dict[str, dict[str, str]]
    keys: dict[str, Any] = {}


class Record(Document):
    """The content of `study.json`: the study's keys, its cells, and by name what shows them."""

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
