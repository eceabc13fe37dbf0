"""Questions of LawBench, from the files of its data set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from meltpoint.errors import MeltpointError

KEYS = ("instruction", "question", "answer")


@dataclass(frozen=True)
class Question:
    """A question: its task, its place in the task's file, its prompt and the reference answer."""

    task: str
    document: int
    prompt: str
    reference: str


def read_questions(path: Path, task: str, limit: int | None = None) -> list[Question]:
    """The first questions of a task's file, at most `limit`.

    Raises MeltpointError, naming the file, if it cannot be read or holds no such questions.
    """
    try:
        documents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeltpointError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(documents, list) or not documents:
        raise MeltpointError(f"{path} holds no documents: a list of questions was expected")
    questions = []
    for place, document in enumerate(documents[:limit]):
        missing = [
            key
            for key in KEYS
            if not isinstance(document, dict) or not isinstance(document.get(key), str)
        ]
        if missing:
            raise MeltpointError(f"{path}: document {place} has no text {missing[0]!r}")
        instruction, question, answer = (document[key] for key in KEYS)
        questions.append(Question(task, place, f"{instruction}\n{question}", answer))
    return questions
