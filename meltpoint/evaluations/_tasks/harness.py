"""Loads tasks of lm-eval: by name from the hub, or from local files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lm_eval.tasks
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from meltpoint.errors import MeltpointError, at, reason_of
from meltpoint.evaluations._tasks import local
from meltpoint.evaluations._tasks.documents import config_of, config_of_questions
from meltpoint.evaluations._tasks.index import check_code, is_weighted_by_size
from meltpoint.text import did_you_mean

if TYPE_CHECKING:
    from lm_eval.api.task import Task
    from lm_eval.tasks._index import Entry

    from meltpoint.evaluations.tasks import Settings

FOLDER = Path(lm_eval.tasks.__file__).parent
# Kinds of request that an engine answers. The likelihood of whole pages is missing: the evaluation
# perplexity measures it.
OUTPUTS = ("multiple_choice", "loglikelihood", "generate_until")
# lm-eval's default seed for drawing shots.
SHOTS_SEED = 1234


@dataclass(frozen=True)
class Named:
    """A loaded task, and those groups with this task that the study names."""

    name: str
    task: Task
    groups: tuple[str, ...]


def load(settings: Settings, data: Path | None, key: str, text: str | None = None) -> list[Named]:
    """All tasks that an evaluation names, each once.

    data: the folder of local files; None for the hub. key: the evaluation's key, for error messages.
    text: the text of the evaluation's corpus, if tasks are made from it. Raises MeltpointError for a
    task that lm-eval does not have, that runs code without `execute_code`, or whose documents cannot
    be read.
    """
    # lm-eval would warn about documents from elsewhere and the number of shots: both are intended.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found: dict[str, Task] = {}
    groups: dict[str, list[str]] = {}
    manager: TaskManager | None = None
    for name in settings.tasks:
        if local.metrics_of(name) is not None:
            names = local.tasks_of(name, settings.without)
            configs = {task: _config(task, data, text, settings.limit) for task in names}
            loaded = {n: c for n, c in configs.items() if n not in found}
            found |= _load(TaskManager(include_defaults=False), list(loaded.values()), key)
        else:
            manager = manager or TaskManager()
            names = _checked(manager.task_index, name, settings, key)
            found |= _load(manager, [task for task in names if task not in found], key)
        for task in names:
            groups.setdefault(task, [])
            groups[task] += [name] if task != name else []
    for name, task in found.items():
        _prepare(name, task, settings.shots, key)
    return [Named(name, task, tuple(groups[name])) for name, task in found.items()]


def _config(name: str, data: Path | None, text: str | None, limit: int | None) -> dict[str, Any]:
    """lm-eval's configuration of a task of resources/tasks.

    It reads the task's local files if there is a folder of data, or questions made from the text.
    """
    task = local.tasks()[name]
    if task.questions is not None:
        return config_of_questions(task, text, limit)
    config = load_yaml(FOLDER / task.include)
    config.pop("tag", None)
    return config if data is None else config | config_of(task, data, limit)


def _load(manager: TaskManager, specs: list, key: str) -> dict[str, Task]:
    if not specs:
        return {}
    try:
        return manager.load(specs)["tasks"]
    except MeltpointError:
        raise
    # Each library raises its own exception for a data set that cannot be loaded.
    except Exception as error:
        names = ", ".join(spec if isinstance(spec, str) else spec["task"] for spec in specs)
        raise MeltpointError(
            f"{key}.tasks: {names} cannot be loaded ({reason_of(error)}): without the hub, name a "
            "folder of files with `data`"
        ) from None


def _checked(
    index: Mapping[str, Entry], name: str, settings: Settings, key: str
) -> tuple[str, ...]:
    """Names of the tasks that a name in lm-eval's index stands for: a task, or those of a group.

    Raises MeltpointError for an unknown name, for a group that is not weighted by its tasks' sizes, and
    for a task that runs code without `execute_code`.
    """
    if name not in index:
        raise MeltpointError(
            f"{key}.tasks: lm-eval has no task {name!r}{did_you_mean(name, index)}"
        )
    names = tuple(
        task for task in dict.fromkeys(_leaves(index, name)) if task not in settings.without
    )
    if names != (name,) and not is_weighted_by_size(index[name].cfg or {}):
        raise MeltpointError(
            f"{key}.tasks: {name} is a group without a mean over all its documents: name its tasks, "
            f"such as {', '.join(names[:3])}"
        )
    for task in names:
        at(f"{key}.tasks", check_code, task, index[task].cfg or {}, settings.execute_code)
    return names


def _leaves(index: Mapping[str, Entry], name: str) -> Iterator[str]:
    """Names of the tasks within a group or a tag."""
    entry = index[name]
    members = sorted(entry.tags) if entry.kind.name == "TAG" else []
    if entry.kind.name == "GROUP":
        members = [
            each if isinstance(each, str) else each.get("group", each.get("task"))
            for each in entry.cfg["task"]
        ]
    if not members:
        yield name
    for member in members:
        yield from _leaves(index, member) if member in index else [member]


def _prepare(name: str, task: Task, shots: int, key: str) -> None:
    """Sets the number and the seed of shots.

    Raises MeltpointError for a task without documents, or whose kind of request no engine answers.
    """
    if task.OUTPUT_TYPE not in OUTPUTS:
        raise MeltpointError(
            f"{key}.tasks: {name} is of the kind {task.OUTPUT_TYPE}, which is measured by the "
            "evaluation perplexity"
        )
    if not len(task.eval_docs):
        raise MeltpointError(f"{key}.tasks: {name} has no documents")
    # As in lm-eval, a task whose configuration says that it takes no shots keeps none.
    if task.get_config("num_fewshot") != 0:
        task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(seed=SHOTS_SEED)
