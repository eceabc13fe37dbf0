"""Scores of predictions in a JSON file, as `python -m meltpoint.evaluations.lawbench` prints them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._lawbench.items import Answer
from meltpoint.evaluations._lawbench.tasks import IDS, score_task
from meltpoint.text import did_you_mean


def score_file(path: Path) -> dict[str, dict[str, float | None]]:
    """Score and fraction of abstentions of each task in a file of predictions.

    The file is ``{"1-1": [{"index", "prediction", "refr"}, ...], ...}``; predictions of 2-1 also have
    the whole prompt, as `origin_prompt`. A score is None if no prediction counts. A fraction of
    abstentions is None if the official function does not count them. Raises MeltpointError for a file
    in another form.
    """
    results = {task: score_task(task, answers) for task, answers in read(path).items()}
    return {
        task: {"score": result.score, "abstention": result.abstention}
        for task, result in results.items()
    }


def read(path: Path) -> dict[str, list[Answer]]:
    """The answers in a file of predictions by task.

    Raises MeltpointError, naming the file, if it cannot be read or has another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeltpointError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(content, Mapping):
        raise MeltpointError(f"{path}: an object of lists by task was expected: see --help")
    for task, predictions in content.items():
        if task not in IDS:
            raise MeltpointError(f"{path}: LawBench has no task {task!r}{did_you_mean(task, IDS)}")
        if not isinstance(predictions, list):
            raise MeltpointError(f"{path}: {task}: a list of predictions was expected")
    return {task: _answers(path, task, predictions) for task, predictions in content.items()}


def _answers(path: Path, task: str, predictions: Sequence[object]) -> list[Answer]:
    keys = ("prediction", "refr", *(("origin_prompt",) if task == "2-1" else ()))
    answers = []
    for place, prediction in enumerate(predictions):
        texts = [prediction.get(key) if isinstance(prediction, dict) else None for key in keys]
        for key, text in zip(keys, texts, strict=True):
            if not isinstance(text, str):
                raise MeltpointError(f"{path}: {task}: prediction {place} has no text {key!r}")
        answers.append(Answer(*texts))
    return answers
