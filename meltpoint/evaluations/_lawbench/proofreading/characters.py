"""Cost of the substitution of one character for another."""

from __future__ import annotations

import unicodedata
from functools import cache

from meltpoint.evaluations._lawbench.data import confusable, word_classes

# Number of parts of a class's code, and the distance of a character that the thesaurus lacks.
CLASS_PARTS = 3
UNKNOWN_CLASS = 4


@cache
def substitution_cost(source: str, target: str) -> float:
    """Cost of a substitution: the sum of distances in meaning, in word class and in shape."""
    return _meaning(source, target) / 6 + _word_class(source, target) + _shape(source, target)


def is_punctuation(text: str) -> bool:
    """True for a text that is one punctuation mark or sign."""
    if len(text) != 1:
        return False
    category = unicodedata.category(text)
    # Signs such as + and ＝ count if they are ASCII characters or wide forms of these.
    return category[0] == "P" or (
        category[0] == "S" and unicodedata.normalize("NFKC", text) < "\x7f"
    )


def _meaning(source: str, target: str) -> int:
    """Distance of two characters' classes in the thesaurus Cilin, 0 to 6."""
    first, second = word_classes().get(source), word_classes().get(target)
    if first is None or second is None:
        return UNKNOWN_CLASS
    return 2 * (CLASS_PARTS - sum(a == b for a, b in zip(first, second, strict=True)))


def _word_class(source: str, target: str) -> float:
    marks = is_punctuation(source) + is_punctuation(target)
    return {0: 0.25, 1: 0.499, 2: 0.0}[marks]


def _shape(source: str, target: str) -> float:
    """Distance in shape: 0 for Chinese characters that sound or look alike, else 0.5."""
    if not (_is_chinese(source) and _is_chinese(target)):
        return 0.5
    alike = readings(source) & readings(target) or tuple(sorted((source, target))) in confusable()
    return 0.0 if alike else 0.5


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


@cache
def readings(character: str) -> frozenset[str]:
    """The readings of a Chinese character in pinyin, without tones."""
    from pypinyin import Style, pinyin

    return frozenset(pinyin(character, style=Style.NORMAL, heteronym=True)[0])
