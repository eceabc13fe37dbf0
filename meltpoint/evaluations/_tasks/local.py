"""Tasks that are read from local files or made from a corpus, as resources/tasks declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "resources" / "tasks"
SUBJECT = "{subject}"


@dataclass(frozen=True)
class LocalTask:
    """A task that a file of resources/tasks declares; the README there explains the fields."""

    name: str
    file: Path
    metrics: tuple[str, ...]
    include: str | None = None
    documents: str | None = None
    questions: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    shots: str | None = None
    labels: str | None = None
    columns: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    differs: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that the task reads in the folder of data."""
        return tuple(file for file in (self.documents, self.shots, self.labels) if file is not None)


@cache
def tasks() -> Mapping[str, LocalTask]:
    """All tasks of resources/tasks by their names in lm-eval."""
    found = {}
    for stem, content in _files().items():
        keys = {key: value for key, value in content.items() if key != "groups"}
        for name, subject in _subjects(stem, content):
            found[name] = _task(name, FOLDER / f"{stem}.yaml", keys, subject)
    return found


@cache
def groups() -> Mapping[str, tuple[str, ...]]:
    """All groups of resources/tasks with the names of their tasks.

    The mean of a group is weighted by its tasks' sizes.
    """
    found = {}
    for stem, content in _files().items():
        parts = {
            f"{stem}_{group}": tuple(f"{stem}_{subject}" for subject in subjects)
            for group, subjects in content.get("groups", {}).items()
        }
        if parts:
            found |= {stem: tuple(task for part in parts.values() for task in part), **parts}
    return found


def tasks_of(name: str, without: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of a group's tasks, or the name of a task itself, except for those in `without`."""
    return tuple(task for task in groups().get(name, (name,)) if task not in without)


def metrics_of(name: str) -> tuple[str, ...] | None:
    """Metrics of a task or a group; None if resources/tasks does not declare it."""
    first = tasks_of(name)[0]
    return tasks()[first].metrics if first in tasks() else None


@cache
def _files() -> Mapping[str, Mapping[str, Any]]:
    import yaml

    return {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.yaml"))
    }


def _subjects(stem: str, content: Mapping) -> list[tuple[str, str]]:
    """Name and subject of each task in a file; the subject is empty for a file of one task."""
    parts = content.get("groups")
    if parts is None:
        return [(stem, "")]
    return [(f"{stem}_{subject}", subject) for part in parts.values() for subject in part]


def _task(name: str, file: Path, content: Mapping[str, Any], subject: str) -> LocalTask:
    filled = {
        key: value.replace(SUBJECT, subject) if isinstance(value, str) else value
        for key, value in content.items()
    }
    filled |= {key: tuple(filled[key]) for key in ("metrics", "columns") if key in filled}
    return LocalTask(name, file, **filled)
