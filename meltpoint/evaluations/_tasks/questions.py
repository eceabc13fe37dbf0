"""Questions with four choices that are made from a text, and so need no data set.

A text is cut into passages of `CONTEXT + ANSWER` words. The first words of a passage are the context of
a question, the others its right answer. The random order of the questions depends on nothing but the
number of passages. The draw of a question's wrong answers depends on that and the passage's place.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meltpoint.errors import MeltpointError

CONTEXT, ANSWER = 40, 12
CHOICES = 4
# A word with the white space before it.
WORD = re.compile(r"\s*\S+")

Question = dict[str, Any]


def continuation(passages: Sequence[Sequence[str]], place: int, draw: random.Random) -> list[str]:
    """Three wrong answers of a question: the last `ANSWER` words of other passages.

    passages: words with the white space before them. place: the question's passage.
    """
    others = draw.sample([n for n in range(len(passages)) if n != place], CHOICES - 1)
    space = leading_space(passages[place][CONTEXT])
    return [space + "".join(passages[other][CONTEXT:]).lstrip() for other in others]


def order(passages: Sequence[Sequence[str]], place: int, draw: random.Random) -> list[str]:
    """Three wrong answers of a question: the right one with two neighbouring words exchanged.

    passages: words with the white space before them. place: the question's passage. White space stays
    in place. A text that repeats one word gives equal answers.
    """
    words = passages[place][CONTEXT:]
    differ = [n for n in range(ANSWER - 1) if words[n].strip() != words[n + 1].strip()]
    chosen = draw.sample(differ, CHOICES - 1) if len(differ) >= CHOICES - 1 else range(CHOICES - 1)
    return [exchanged(words, n) for n in chosen]


def exchanged(words: Sequence[str], place: int) -> str:
    """The words as a text; the word at `place` and the next one are exchanged."""
    first, second = words[place], words[place + 1]
    pair = leading_space(first) + second.strip(), leading_space(second) + first.strip()
    return "".join([*words[:place], *pair, *words[place + 2 :]])


def leading_space(word: str) -> str:
    """White space before a word."""
    return word[: len(word) - len(word.lstrip())]


# Values of the key `questions` in a file of resources/tasks.
WRONG_ANSWERS: Mapping[str, Callable[[Sequence[Sequence[str]], int, random.Random], list[str]]] = {
    "continuation": continuation,
    "order": order,
}


def questions_of(text: str, kind: str, limit: int | None = None) -> list[Question]:
    """The first questions of a text, each with `context`, `choices` and the right one's `label`.

    kind: one of `WRONG_ANSWERS`. Raises MeltpointError for a text of fewer than four passages.
    """
    words = WORD.findall(text)
    size = CONTEXT + ANSWER
    passages = [words[n : n + size] for n in range(0, len(words) - size + 1, size)]
    if len(passages) < CHOICES:
        raise MeltpointError(
            f"a text of {len(words)} words is too short for questions: {CHOICES * size} are needed"
        )
    places = list(range(len(passages)))
    random.Random(0).shuffle(places)
    return [_question(passages, place, kind) for place in places[:limit]]


def _question(passages: Sequence[Sequence[str]], place: int, kind: str) -> Question:
    draw = random.Random(place)
    choices = WRONG_ANSWERS[kind](passages, place, draw)
    label = draw.randrange(CHOICES)
    choices.insert(label, "".join(passages[place][CONTEXT:]))
    context = "".join(passages[place][:CONTEXT]).lstrip()
    return {"context": context, "choices": choices, "label": label}
