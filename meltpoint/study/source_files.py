"""The files and folders that a study names: models, texts, windows, data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.data.text_files import format_of
from meltpoint.errors import MeltpointError, at
from meltpoint.study.config import StudyConfig
from meltpoint.study.data_files import check_data_files, data_of
from meltpoint.study.model_sections import GgufModel, LocalModel
from meltpoint.study.sections import GivenCalibration, LocalCorpus, TokenCorpus

if TYPE_CHECKING:
    from meltpoint.study.resolved import Study

# The first bytes of every GGUF file.
GGUF_MAGIC = b"GGUF"


def check_source_files(study: Study) -> None:
    """Raises MeltpointError, naming the key, for a path that is missing or of another kind."""
    for key, path, is_folder in source_files(study.config):
        place = study.path(path)
        if not place.exists():
            raise MeltpointError(
                f"{key}: {path} does not exist (paths are relative to the study's file, in "
                f"{study.folder})"
            )
        if place.is_dir() != is_folder:
            found = "a file, a folder is needed" if is_folder else "a folder, a file is needed"
            raise MeltpointError(f"{key}: {path} is {found}")
    for name, corpus in study.config.corpora.items():
        if isinstance(corpus, LocalCorpus):
            at(f"corpora.{name}.path", format_of, corpus.path, corpus.format)
    for name, model in study.config.models.items():
        if isinstance(model, GgufModel):
            at(f"models.{name}.gguf", check_gguf, study.path(model.gguf))
    check_data_files(study)


def source_files(config: StudyConfig) -> Iterator[tuple[str, Path, bool]]:
    """Every path in a study: (key, path, true for a folder)."""
    for name, model in config.models.items():
        if isinstance(model, LocalModel):
            yield f"models.{name}.path", model.path, True
        if isinstance(model, GgufModel):
            yield f"models.{name}.gguf", model.gguf, False
    for name, corpus in config.corpora.items():
        if isinstance(corpus, LocalCorpus):
            yield f"corpora.{name}.path", corpus.path, False
        if isinstance(corpus, TokenCorpus):
            yield f"corpora.{name}.tokens", corpus.tokens, False
    for name, settings in config.evaluations.items():
        if folder := data_of(settings):
            yield f"evaluations.{name}.data", folder, True
    for name, calibration in config.calibrations.items():
        if isinstance(calibration, GivenCalibration):
            yield f"calibrations.{name}.windows", calibration.windows, False


def local_models(study: Study) -> dict[str, Path]:
    """Paths of the study's local models, folders and files, by name."""
    paths = {
        name: model.path if isinstance(model, LocalModel) else model.gguf
        for name, model in study.config.models.items()
        if isinstance(model, LocalModel | GgufModel)
    }
    return {name: study.path(path) for name, path in paths.items()}


def check_gguf(file: Path) -> None:
    """Raises MeltpointError for a file that does not begin with `GGUF_MAGIC`."""
    with file.open("rb") as opened:
        if opened.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise MeltpointError(f"{file} is no GGUF file: its first bytes are not GGUF")
