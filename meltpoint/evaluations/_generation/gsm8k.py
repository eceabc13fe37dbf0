"""GSM8K: the prompt of eight shots with reasoning, and the number that an answer names.

The shots are those of Wei et al. (arXiv 2201.11903); the answer is read as Shi et al. (arXiv
2402.06925) do.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

FIELDS = {"question": str, "answer": str}
SHOTS = Path(__file__).parents[3] / "resources/gsm8k/shots.json"


@cache
def _shots() -> str:
    shots = json.loads(SHOTS.read_text(encoding="utf-8"))
    return "".join(f"Question: {s['question']}\nAnswer: {s['answer']}\n\n" for s in shots)


def prompt(question: str) -> str:
    """The shots, the question, and the beginning of an answer."""
    return f"{_shots()}Question: {question}\nAnswer:"


def is_right(text: str, answer: str) -> bool:
    """True if the text names the right number; in the document's `answer` that follows `####`."""
    return normalized(answer_of(text)) == normalized(answer.rpartition("####")[2])


def answer_of(text: str) -> str:
    """The answer that a text names, up to its first blank line; empty if it names none.

    That is the content of `boxed{...}`, or the text after "the answer is", or the last number.
    """
    text = text.strip().partition("\n\n")[0]
    if "boxed" in text:
        answer = _boxed(text.rpartition("boxed")[2])
    elif "he answer is" in text:
        answer = text.rpartition("he answer is")[2]
    else:
        numbers = re.findall(r"-?\d*\.?\d+", text.replace(",", ""))
        answer = numbers[-1] if numbers else ""
    first = answer.strip().partition("\n")[0].strip()
    return first.removeprefix(":").strip().removesuffix(".").removesuffix("/")


def _boxed(rest: str) -> str:
    """The content of the braces that `rest` begins with, or else the text before the first `$`."""
    if not rest.startswith("{"):
        return rest.partition("$")[0]
    depth = 0
    for place, character in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return rest[1:place]
    return rest[1:]


def normalized(answer: str) -> str:
    """The answer without money and percent signs, \\text, commas, spaces, "and" and a final .0."""
    answer = re.sub(r"\\text\{.*?\}", "", answer)
    answer = re.sub(r"[\s,$%\\]|and", "", answer)
    return re.sub(r"\.0+$", "", answer)
