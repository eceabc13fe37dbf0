"""Questions of MMLU with their prompts, from the CSV files of the data set."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meltpoint.errors import MeltpointError

SHOTS = 5
LETTERS = "ABCD"
# Question, four choices and the right letter.
COLUMNS = 6


@dataclass(frozen=True)
class Question:
    """A question: its subject, its place in the subject's file, its prompt and the right letter."""

    subject: str
    document: int
    prompt: str
    right: str


def read_questions(folder: Path, subject: str, limit: int | None = None) -> list[Question]:
    """The first questions of a subject's test file, at most `limit`.

    Each prompt begins with five solved questions of the subject's dev file. Raises MeltpointError for a
    file in another form than MMLU's, and for fewer than five shots.
    """
    dev, test = (folder / split / f"{subject}_{split}.csv" for split in ("dev", "test"))
    shots = read_rows(dev)[:SHOTS]
    if len(shots) < SHOTS:
        raise MeltpointError(f"{dev} has {len(shots)} questions: {SHOTS} are needed as shots")
    return [
        Question(subject, place, prompt_of(subject, shots, row), row[-1])
        for place, row in enumerate(read_rows(test)[:limit])
    ]


def read_rows(path: Path) -> list[list[str]]:
    """Rows of a CSV file of MMLU: a question, four choices and the right letter.

    Raises MeltpointError, naming the file and the row, for a row in another form.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise MeltpointError(f"{path} cannot be read as CSV ({error})") from None
    for place, row in enumerate(rows):
        if len(row) != COLUMNS or row[-1] not in tuple(LETTERS):
            raise MeltpointError(
                f"{path}: row {place} is not a question, four choices and a letter of {LETTERS}"
            )
    if not rows:
        raise MeltpointError(f"{path} holds no documents")
    return rows


def prompt_of(subject: str, shots: Sequence[Sequence[str]], row: Sequence[str]) -> str:
    """The prompt of a question for a base model: shots and question, joined by new lines.

    A shot's answer is on the line after "Answer: ", and a blank line follows it.
    """
    turns = []
    for shot in shots:
        turns += [block(subject, shot), f"{shot[-1]}\n"]
    return "\n".join([*turns, block(subject, row)])


def block(subject: str, row: Sequence[str]) -> str:
    """A question with its choices in OpenCompass's words; the text ends in "Answer: "."""
    question, *choices, _ = row
    named = "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True)
    )
    return (
        f"There is a single choice question about {subject.replace('_', ' ')}. Answer the question "
        f"by replying A, B, C or D.\nQuestion: {question}\n{named}\nAnswer: "
    )
