"""Documents from local files, or made from a text, in the form that lm-eval reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._tasks.local import LocalTask
from meltpoint.evaluations._tasks.questions import questions_of

# Names of the two splits in lm-eval's configuration: the documents, and the shots.
DOCUMENTS, SHOTS = "test", "shots"


def config_of(task: LocalTask, data: Path, limit: int | None) -> dict[str, Any]:
    """Keys of lm-eval's configuration that make it read a task's local files.

    The first `limit` documents are read. Raises MeltpointError if a file cannot be read or holds no
    documents, and if a document lacks a field.
    """
    splits = {DOCUMENTS: read_documents(task, data, task.documents, limit)}
    if task.shots is not None:
        splits[SHOTS] = read_documents(task, data, task.shots)
    return _config(task, splits)


def config_of_questions(task: LocalTask, text: str, limit: int | None) -> dict[str, Any]:
    """Keys of lm-eval's configuration for a task whose documents are made from a text.

    Raises MeltpointError for a text that is too short.
    """
    splits = {DOCUMENTS: questions_of(text, task.questions, limit)}
    return _config(task, splits) | {"task": task.name}


def _config(task: LocalTask, splits: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    import datasets

    tables = {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    return {
        **{"training_split": None, "validation_split": None, "test_split": DOCUMENTS},
        "fewshot_split": SHOTS if task.shots is not None else None,
        "dataset_kwargs": None,
        # lm-eval passes the task's metadata as arguments; local files do not depend on them.
        "custom_dataset": lambda **_: tables,
        **task.config,
    }


def read_documents(
    task: LocalTask, data: Path, file: str, limit: int | None = None
) -> list[dict[str, Any]]:
    """The first documents of a file in the folder `data`, with the fields that lm-eval reads.

    Raises MeltpointError if a file cannot be read or holds no documents, and if a document lacks a
    field or a label.
    """
    path = data / file
    rows = _rows(path, task, limit)
    if not rows:
        raise MeltpointError(f"{path} holds no documents")
    if task.labels is not None:
        _add_labels(rows, data / task.labels)
    expressions = _expressions(tuple(task.fields.items()))
    return [_document(row, expressions, f"{path}: document {n}") for n, row in enumerate(rows)]


def _rows(path: Path, task: LocalTask, limit: int | None) -> list[dict[str, Any]]:
    try:
        with path.open(newline="" if task.columns else None, encoding="utf-8") as file:
            if task.columns:
                return list(islice(csv.DictReader(file, task.columns, strict=True), limit))
            return [json.loads(line) for line in islice(filter(str.strip, file), limit)]
    except (OSError, ValueError, csv.Error) as error:
        form = "CSV" if task.columns else "JSON lines"
        raise MeltpointError(f"{path} cannot be read as {form} ({error})") from None


def _add_labels(rows: list[dict[str, Any]], path: Path) -> None:
    try:
        with path.open(encoding="utf-8") as file:
            labels = [int(line) for line in islice(file, len(rows))]
    except (OSError, ValueError) as error:
        raise MeltpointError(f"{path} cannot be read as numbers, one a line ({error})") from None
    if len(labels) < len(rows):
        raise MeltpointError(
            f"{path} has {len(labels)} labels, fewer than documents: one a line is needed"
        )
    for row, label in zip(rows, labels, strict=True):
        row["label"] = label


def _expressions(fields: tuple[tuple[str, str], ...]) -> dict[str, Callable[..., Any]]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    return {
        name: environment.compile_expression(text, undefined_to_none=False) for name, text in fields
    }


def _document(
    row: Mapping[str, Any], expressions: Mapping[str, Callable[..., Any]], place: str
) -> dict[str, Any]:
    document = {}
    for name, expression in expressions.items():
        try:
            document[name] = expression(row)
            # A missing value within a list stays undefined until it is used: this uses all values.
            json.dumps(document[name])
        except (jinja2.UndefinedError, TypeError, ValueError, AttributeError):
            raise MeltpointError(
                f"{place} does not have what the field {name!r} of lm-eval is made of"
            ) from None
        if document[name] is None:
            raise MeltpointError(f"{place} has no {name!r}")
    return document
