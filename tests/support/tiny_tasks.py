"""Files of tasks with a few documents each, and the evaluations that read them."""

import csv
import json
from pathlib import Path

from meltpoint.evaluations import _decoding

LIMITS = {"data": "tasks", "max_new_tokens": 4}
# Settings that a strategy needs; the amateur is the tiny study's other model.
NEEDED = {"contrastive_decoding": ",amateur=other"}
STRATEGIES = [f"{name}{NEEDED.get(name, '')}" for name in _decoding.registry()]
EVALUATIONS = {
    "law": {"lawbench": ["1-1", "1-2", "2-1"], **LIMITS},
    "subject": {"mmlu_generation": ["astronomy"], **LIMITS},
    "programs": {"generation": "mbpp", "execute_code": True, "strategies": ["greedy"], **LIMITS},
    "numbers": {"generation": "gsm8k", "strategies": ["greedy"], **LIMITS},
    "texts": {
        **{"generation": "prompts", "prompts": "prompts.jsonl", "strategies": STRATEGIES},
        **{"seeds": [0, 1], **LIMITS},
    },
}


def write(folder: Path) -> None:
    """Writes the files below a folder."""
    _write_lines(folder / "prompts.jsonl", [{"prompt": "a b c"}, {"prompt": "d e"}])
    _write_lines(folder / "gsm8k/test.jsonl", [{"question": "How many?", "answer": "#### 3"}])
    problem = {"text": "Square.", "code": "f = abs", "test_list": ["assert f(1) == 1"]}
    _write_lines(folder / "mbpp/mbpp.jsonl", [{"task_id": n, **problem} for n in (2, 3, 8, 11)])
    # The sentence to correct in task 2-1 stands below a line of its own.
    question = {"instruction": "a b", "question": "句子：\nc d", "answer": "e f"}
    for task in EVALUATIONS["law"]["lawbench"]:
        file = folder / f"lawbench/zero_shot/{task}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([question, question]))
    for split, count in (("dev", 5), ("test", 2)):
        file = folder / f"mmlu/{split}/astronomy_{split}.csv"
        file.parent.mkdir(parents=True)
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows([["Is it?", "yes", "no", "both", "none", "A"]] * count)


def write_wikinews(folder: Path, texts: list[str]) -> None:
    """Writes prompts with references as the published file has them."""
    lines = [{"instructions": text[:20], "gold_ref": text} for text in texts]
    _write_lines(folder / "decoding_prompts/wikinews_with_references.jsonl", lines)


def _write_lines(file: Path, lines: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
