"""Small helpers for sentences that a person reads."""

import difflib
import inspect
import math
from collections.abc import Iterable

# The most words that a sentence lists.
MOST_WORDS = 60


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A clause that names the nearest known word, or all of them, each behind the prefix.

    It is empty where none is near and they are too many to be listed.
    """
    known = sorted(map(str, known))
    near = nearest(word, known, prefix)
    if near or len(known) > MOST_WORDS:
        return near
    words = ", ".join(prefix + each for each in known)
    return f": known: {words}" if known else ": none is known"


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A clause that names the known word that is nearest; "" where none is near."""
    near = difflib.get_close_matches(str(word), known, n=1)
    return f": did you mean {prefix + near[0]!r}?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """a, b or c"""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def first_sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line, without its full stop."""
    paragraph = inspect.cleandoc(docstring or "").split("\n\n")[0]
    return " ".join(paragraph.split()).removesuffix(".")


def human_bytes(count: float) -> str:
    """A number of bytes with three digits: 15.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def human_time(seconds: float) -> str:
    """A time in the unit in which it is 1.5 or more: 36 s, 1.6 h, 9,541 h; <1 s below a second."""
    if 0 < seconds < 1:
        return "<1 s"
    unit, size = next((u for u in (("h", 3600), ("min", 60)) if seconds >= 1.5 * u[1]), ("s", 1))
    count = seconds / size
    return f"{count:,.0f} {unit}" if count >= 10 or unit == "s" else f"{count:.2g} {unit}"


def reading(value: float, stderr: float = math.nan) -> str:
    """A number to two digits of its standard error, where it has one, to four of its own if not."""
    if not math.isfinite(value) or not math.isfinite(stderr) or stderr <= 0:
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    digits = min(6, max(0, 1 - math.floor(math.log10(stderr))))
    return f"{value:,.{digits}f} ± {stderr:,.{digits}f}"
