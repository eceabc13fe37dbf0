"""The letter that an answer to a multiple-choice question names, as OpenCompass reads it.

`first_option` has the patterns of OpenCompass's text_postprocessors.py at a5acc4bb (Apache License 2.0,
copyright of the OpenCompass authors), quirks included: a rule is tried on the whole text, so an earlier
rule wins over an earlier place. A letter within a word counts if no rule finds another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

# Texts that come directly before the letter; some allow brackets or bold type around it.
_CHINESE = (
    *(r"答案是?\s*", r"答案是?\s*：\s*", r"答案是?\s*:\s*"),
    *(r"答案选项应?该?是\s*", r"答案选项应?该?为\s*", r"答案应该?是\s*", r"答案应该?选\s*"),
    *(r"答案选项为?\s*：\s*", r"答案选项为?\s+\(?\*{0,2}", r"答案选项是?\s*:\s*"),
    *(r"答案为\s*", r"答案选\s*", r"选择?\s*"),
)
# The official list lacks a comma between two rules: together they need two letters in a row.
_FUSED = r"故选?\s*X只有选?项?\s?X\s?是?对"
# Texts around the letter, X.
_STATEMENTS = (
    *(r"只有选?项?\s?X\s?是?错", r"只有选?项?\s?X\s?不?正确", r"只有选?项?\s?X\s?错误"),
    *(r"说法不?对选?项?的?是\s?X", r"说法不?正确选?项?的?是\s?X", r"说法错误选?项?的?是\s?X"),
    *(r"X\s?是正确的", r"X\s?是正确答案", r"选项\s?X\s?正确", r"所以答\s?X"),
    # Letters that end the text, a full stop aside.
    *(r"所以\s?X[.。$]?$", r"所有\s?X[.。$]?$", r"[\s，：:,]X[。，,.]?$"),
    *(r"[\s，,：:][故即]X[。.]?$", r"[\s，,：:]因此X[。.]?$", r"[是为。]\s?X[。.]?$"),
    *(r"因此\s?X[。.]?$", r"显然\s?X[。.]?$"),
)
# Texts before a word in which the letter is looked for.
_WORDS = (r"答案是\s?(\S+)(?:。|$)", r"答案应该是\s?(\S+)(?:。|$)", r"答案为\s?(\S+)(?:。|$)")
_SAYING = "[Tt]he {}:?"
_PLAIN, _BOLD, _BOXED = r"\s+\(?X", r"\s+\(?\*{0,2}X", r".*?boxed{X}"
_ENGLISH = (
    "(?i:ANSWER\\s*:\\s*X)",
    *(
        _SAYING.format(saying) + letter
        for saying, letter in (
            *(("answer is", _PLAIN), ("answer is", _BOLD), ("answer is option", _PLAIN)),
            *(("correct answer is", _PLAIN), ("correct answer is option", _PLAIN)),
            *(("correct answer is", _BOXED), ("correct option is", _BOXED)),
            *(("correct answer option is", _BOXED), ("answer to the question is", _PLAIN)),
        )
    ),
)
_LAST = (
    *(r"^选项\s?X", r"^X\s?选?项"),
    # The official rule takes a letter between blanks too, but then reads the blank before it.
    r"(?:(\s)|^)[ABCD][\s。，,：:.$]",
    # The whole text after a 1 and any character; the first option in alphabetical order counts.
    r"1.\s?(.*?)$",
    *("X:", "X"),
)


@cache
def _rules(options: str) -> tuple[re.Pattern[str], ...]:
    letter = f"([{options}])"
    texts = (
        *(before + "X" for before in _CHINESE),
        *(_FUSED, *_STATEMENTS, *_WORDS, *_ENGLISH, *_LAST),
    )
    patterns = (text.replace("[ABCD]", f"[{options}]").replace("X", letter) for text in texts)
    return tuple(re.compile(pattern, re.DOTALL) for pattern in patterns)


def first_option(text: str, options: str = "ABCD") -> str:
    """The option that an answer names; empty if it names none (`first_option_postprocess`)."""
    return next(_options_found(text.strip(), options), "")


def _options_found(text: str, options: str) -> Iterator[str]:
    for rule in _rules(options):
        if found := rule.search(text):
            read = found.group(1) or found.group()
            yield from (option for option in options if option in read)


def first_capital(text: str) -> str:
    """The first upper-case character of an answer, an option or not; empty if there is none."""
    return next((character for character in text if character.isupper()), "")


def first_line(text: str) -> str:
    """The first line of an answer that is not blank.

    A base model continues after its answer with a question that it makes up, whose letters must not
    count.
    """
    lines = text.strip().splitlines()
    return lines[0] if lines else ""
