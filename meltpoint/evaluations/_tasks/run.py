"""Runs one task after the other on an engine; finished tasks survive a kill of the job."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from lm_eval.evaluator import evaluate

from meltpoint.errors import NotApplicable
from meltpoint.evaluations._tasks.harness import Named
from meltpoint.evaluations._tasks.model import EngineModel
from meltpoint.evaluations._tasks.samples import sample_of
from meltpoint.files import write_json
from meltpoint.progress import track

if TYPE_CHECKING:
    from lm_eval.api.task import Task


@dataclass(frozen=True)
class Done:
    """A finished task: its samples, the number of its requests, and of those cut from the left."""

    task: str
    samples: Sequence[Mapping[str, Any]]
    requests: int
    cut: int


def run(
    tasks: Sequence[Named],
    model: EngineModel,
    limit: int | None,
    execute_code: bool,
    resume: Path | None,
) -> Iterator[Done]:
    """Runs the tasks in order and yields each when it is finished.

    A task that was finished before a kill is read from the folder `resume`. Raises NotApplicable for a
    task that does not fit the model's context.
    """
    if execute_code:
        # The metric of tasks that run code refuses to run without this variable.
        os.environ["HF_ALLOW_CODE_EVAL"] = "1"
    for named in track(tasks, "tasks"):
        file = None if resume is None else resume / f"{named.name}.json"
        if file is not None and file.is_file():
            yield Done(**json.loads(file.read_text(encoding="utf-8")))
            continue
        done = _run(named, model, limit, execute_code)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, vars(done))
        yield done


def _run(named: Named, model: EngineModel, limit: int | None, execute_code: bool) -> Done:
    model.cut = 0
    try:
        # lm-eval's progress bars would mix with the output of other jobs.
        with patch("lm_eval.api.task.tqdm", _silent), patch("lm_eval.api.model.tqdm", _silent):
            results = evaluate(
                lm=model,
                task_dict={"tasks": {named.name: named.task}, "groups": {}, "group_map": {}},
                limit=limit,
                bootstrap_iters=0,
                confirm_run_unsafe_code=execute_code,
            )
    except NotApplicable as reason:
        raise NotApplicable(f"{named.name}: {reason}") from None
    logged = results["samples"][named.name]
    # If a task has several filters to read answers, the first one decides the score.
    first = [each for each in logged if each["filter"] == logged[0]["filter"]]
    averaged = averaged_metrics(named.task)
    samples = [sample_of(named.name, each, averaged, named.groups) for each in first]
    requests = sum(len(each["arguments"]) for each in first)
    return Done(named.name, samples, requests, model.cut)


def _silent(iterable: Iterable, **_: object) -> Iterable:
    """Stand-in for a progress bar that prints nothing."""
    return iterable


def averaged_metrics(task: Task) -> list[str]:
    """Names of a task's metrics that are means over its documents, with higher values better."""
    higher = task.higher_is_better()
    return [
        metric
        for metric, function in task.aggregation().items()
        if getattr(function, "__name__", "") == "mean" and higher.get(metric, True)
    ]
