"""Lists that the scorers need, from resources/lawbench; its README names their sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "resources" / "lawbench"


@cache
def labels() -> Mapping[str, Sequence[str]]:
    """The labels of each task that has a list of them."""
    return json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))


@cache
def word_classes() -> Mapping[str, tuple[str, str, str]]:
    """Class of each character in the thesaurus Cilin, as three levels of a code: (A, a, 01)."""
    classes = {}
    for code, characters in _rows("cilin_characters.txt"):
        classes |= dict.fromkeys(characters, (code[0], code[1], code[2:4]))
    return classes


@cache
def confusable() -> frozenset[tuple[str, str]]:
    """Sorted pairs of characters that are mistaken for one another and share no reading."""
    rows = _rows("confusable_characters.txt")
    return frozenset((first, second) for first, others in rows for second in others)


def _rows(name: str) -> list[list[str]]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return [line.split(" ") for line in text.splitlines()]
