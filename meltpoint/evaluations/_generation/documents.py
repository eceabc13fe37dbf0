"""Prompts of `generation`, from the files of its tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._generation import gsm8k, mbpp

# Keys of the prompt in published files of prompts.
PROMPT_KEYS = ("prompt", "instructions")


@dataclass(frozen=True)
class Document:
    """A prompt, as text or token numbers, with its place in the file and the fields of its line."""

    place: int
    prompt: str | Sequence[int]
    fields: Mapping[str, Any] = field(default_factory=dict)


def read_documents(path: Path, task: str, limit: int | None) -> list[Document]:
    """The first prompts of a task's file, at most `limit`.

    Raises MeltpointError, with the file and the line, for a wrong line and for a file without any.
    """
    lines = read_lines(path)
    documents = READERS[task](path, lines)[:limit]
    if not documents:
        raise MeltpointError(f"{path} holds no documents for {task}")
    return documents


def read_lines(path: Path) -> list[dict]:
    """The objects of a JSON lines file, without blank lines.

    Raises MeltpointError, with the file, if it cannot be read or a line is not a JSON object.
    """
    try:
        # Not splitlines: a text may hold other characters that count as line ends there.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise MeltpointError(f"{path} cannot be read ({error})") from None
    found = []
    for place, line in enumerate(line for line in lines if line.strip()):
        try:
            found.append(json.loads(line))
        except ValueError:
            raise MeltpointError(f"{path}: line {place} is no JSON") from None
        if not isinstance(found[-1], dict):
            raise MeltpointError(f"{path}: line {place} is no JSON object")
    return found


def check_fields(path: Path, place: int, line: Mapping, fields: Mapping[str, type]) -> None:
    """Raises MeltpointError for a line that lacks one of these fields or has another type there."""
    for key, kind in fields.items():
        if not isinstance(line.get(key), kind):
            raise MeltpointError(f"{path}: document {place} has no {key!r}")


def _mbpp(path: Path, lines: list[dict]) -> list[Document]:
    for place, line in enumerate(lines):
        check_fields(path, place, line, mbpp.FIELDS)
    prompts = mbpp.prompts([line["task_id"] for line in lines], lines, path)
    return [Document(place, prompt, lines[place]) for place, prompt in prompts]


def _gsm8k(path: Path, lines: list[dict]) -> list[Document]:
    for place, line in enumerate(lines):
        check_fields(path, place, line, gsm8k.FIELDS)
    return [
        Document(place, gsm8k.prompt(line["question"]), line) for place, line in enumerate(lines)
    ]


def _prompts(path: Path, lines: list[dict]) -> list[Document]:
    documents = []
    for place, line in enumerate(lines):
        prompt = line.get("tokens")
        if prompt is None:
            prompt = next((line[key] for key in PROMPT_KEYS if key in line), None)
        is_tokens = isinstance(prompt, list) and all(type(token) is int for token in prompt)
        if not prompt or not (is_tokens or isinstance(prompt, str)):
            raise MeltpointError(
                f"{path}: document {place} has no prompt: a text as 'prompt', or token numbers as "
                "'tokens'"
            )
        documents.append(Document(place, prompt, line))
    return documents


READERS = {"mbpp": _mbpp, "gsm8k": _gsm8k, "prompts": _prompts}
