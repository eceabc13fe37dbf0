"""Files with the documents of evaluations, in the folders that a study names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.errors import MeltpointError
from meltpoint.evaluations import kind_of
from meltpoint.evaluations.contract import EvaluationSettings

if TYPE_CHECKING:
    from meltpoint.study.resolved import Study


def data_of(settings: EvaluationSettings) -> Path | None:
    """The folder in an evaluation's key `data`; None if its kind lacks the key or it is not set."""
    return getattr(settings, "data", None)


def data_folder(study: Study, evaluation: str) -> Path | None:
    """Path of the folder with an evaluation's documents; None if it names no folder."""
    folder = data_of(study.config.evaluations[evaluation])
    return None if folder is None else study.path(folder)


def data_files(study: Study, evaluation: str) -> dict[str, Path]:
    """Paths of the files that an evaluation reads, by their names in its folder or in resources/.

    Raises MeltpointError if the evaluation needs files and names no folder.
    """
    settings = study.config.evaluations[evaluation]
    needs = kind_of(settings).needs(settings)
    names = needs.data_files
    folder = data_folder(study, evaluation)
    if names and folder is None:
        raise MeltpointError(
            f"evaluations.{evaluation}.data: name the folder that holds {names[0]}"
        )
    definitions = {path.name: path for path in needs.definitions}
    return definitions | {name: folder / name for name in names}


def check_data_files(study: Study) -> None:
    """Raises MeltpointError if a file that an evaluation reads does not exist."""
    for evaluation in study.config.evaluations:
        for name, file in data_files(study, evaluation).items():
            if not file.is_file():
                folder = study.config.evaluations[evaluation].data
                raise MeltpointError(f"evaluations.{evaluation}.data: {folder} has no {name}")


def check_documents(study: Study) -> None:
    """Raises MeltpointError for documents or tasks that an evaluation's jobs would refuse.

    All documents are read here, so that a study is refused before it compresses anything.
    """
    for name, settings in study.config.evaluations.items():
        kind_of(settings).check(f"evaluations.{name}", settings, data_folder(study, name))
