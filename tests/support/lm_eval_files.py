"""Files of lm-eval's tasks with a few documents each, as the files of resources/tasks read them."""

import csv
import json
from pathlib import Path

from meltpoint.evaluations._tasks import local

QUESTION = {
    "stem": "Is it?",
    "choices": [{"text": text, "label": label} for text, label in (("yes", "A"), ("no", "B"))],
}


def write_arc(folder: Path, task: str, documents: int = 6) -> None:
    """Writes questions of ARC whose right answers alternate."""
    lines = [
        json.dumps({"id": str(n), "question": QUESTION, "answerKey": "AB"[n % 2]})
        for n in range(documents)
    ]
    path = folder / task / "test.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_mmlu(folder: Path, documents: int = 2) -> None:
    """Writes the shots and questions of all subjects."""
    for name in local.tasks_of("mmlu"):
        task = local.tasks()[name]
        for file, count in ((task.shots, 5), (task.documents, documents)):
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as opened:
                csv.writer(opened).writerows([["Is it?", "yes", "no", "both", "none", "A"]] * count)
