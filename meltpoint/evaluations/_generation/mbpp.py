"""MBPP: the prompt with three shots, and the program that tests an answer.

Problems 11 to 510 are asked, with problems 2, 3 and 8 as shots (Austin et al., arXiv 2108.07732; the
shots are those of Shi et al., arXiv 2402.06925).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meltpoint.errors import MeltpointError

FIELDS = {"task_id": int, "text": str, "code": str, "test_list": list}
SHOTS = (2, 3, 8)
FIRST, LAST = 11, 510


def prompts(
    ids: Sequence[int], problems: Sequence[Mapping[str, Any]], path: Path
) -> list[tuple[int, str]]:
    """Place and prompt of each problem from `FIRST` to `LAST`.

    ids: the problems' numbers. Raises MeltpointError, with `path`, if a shot is missing.
    """
    places = {task: place for place, task in enumerate(ids)}
    missing = [task for task in SHOTS if task not in places]
    if missing:
        raise MeltpointError(f"{path} has no problem {missing[0]}, which is one of the shots")
    shots = "".join(
        f"{_question(problems[places[task]])}{problems[places[task]]['code']}\n[DONE]\n\n"
        for task in SHOTS
    )
    return [
        (place, shots + _question(problems[place]))
        for place, task in enumerate(ids)
        if FIRST <= task <= LAST
    ]


def _question(problem: Mapping[str, Any]) -> str:
    tests = "\n".join(problem["test_list"])
    return (
        f"You are an expert Python programmer, and here is your task: {problem['text']} "
        f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def code_of(answer: str) -> str:
    """The code in an answer; the text around it is cut off as in Shi et al.'s code."""
    code = answer.strip().replace("\r", "").partition("[DONE]")[0]
    if "```python" in code:
        code = code.partition("```python")[2].partition("```")[0]
    if "__name__" in code:
        # The whole line goes: it begins with an `if`.
        code = code.partition("__name__")[0].rpartition("\n")[0]
    return code.partition("# Example usage")[0]


def program_of(answer: str, problem: Mapping[str, Any]) -> str:
    """A program that ends without an exception if the answer is right: setup, answer and tests."""
    setup = problem.get("test_setup_code") or ""
    return "\n".join([setup, code_of(answer), *problem["test_list"]])
