"""The edits of an alignment: its runs without matches; runs that moved characters are joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from meltpoint.evaluations._lawbench.proofreading.alignment import (
    DELETION,
    INSERTION,
    MATCH,
    SUBSTITUTION,
    TRANSPOSITION,
    Alignment,
    Run,
    alignments,
)
from meltpoint.evaluations._lawbench.proofreading.characters import is_punctuation

# Where an edit begins and ends in the source, and its correction.
Edit = tuple[int, int, str]
NOTHING = "-NONE-"


def edits_of(source: str, target: str) -> Counter[Edit]:
    """The edits that turn the source into the target, with the number of alignments that have each.

    Alignments that give equal lists of edits count once.
    """
    if source == target:
        return Counter()
    lists = {tuple(_edits(source, target, each)) for each in alignments(source, target)}
    return Counter(_key(target, run) for each in lists for run in each)


def _key(target: str, run: Run) -> Edit:
    return run.start, run.end, target[run.target_start : run.target_end] or NOTHING


def _edits(source: str, target: str, alignment: Alignment) -> Iterator[Run]:
    for run in _with_moves(source, target, alignment):
        texts = _texts(source, target, run)
        if run.kind != MATCH and texts[0] != texts[1]:
            yield _trim(run, *texts) if run.kind == SUBSTITUTION else run


def _texts(source: str, target: str, run: Run) -> tuple[str, str]:
    return source[run.start : run.end], target[run.target_start : run.target_end]


def _with_moves(source: str, target: str, alignment: Alignment) -> Iterator[Run]:
    """The runs of an alignment; three neighbours that moved characters become one transposition."""
    place = 0
    while place < len(alignment):
        three = alignment[place : place + 3]
        if len(three) == 3 and _moved(source, target, *three):
            first, _, last = three
            ends = (first.start, last.end, first.target_start, last.target_end)
            yield Run(TRANSPOSITION, *ends)
            place += 3
        else:
            yield alignment[place]
            place += 1


def _moved(source: str, target: str, first: Run, middle: Run, last: Run) -> bool:
    """True if three runs exchange two spans, or delete a span and insert it on the other side."""
    before, after = _texts(source, target, first), _texts(source, target, last)
    match first.kind, middle.kind, last.kind:
        case "S", "M", "S":
            return _exchanged(before, after)
        case "D", "M" | "T", "I":
            return _agree(before[0], after[1])
        case "I", "M" | "T", "D":
            return _agree(after[0], before[1])
    return False


def _exchanged(first: tuple[str, str], last: tuple[str, str]) -> bool:
    pairs = (first[0], last[1]), (last[0], first[1])
    if min(len(text) for text in (*first, *last)) == 1:
        return all(a == b for a, b in pairs)
    return all(_nearly_equal(a, b) for a, b in pairs)


def _agree(deleted: str, inserted: str) -> bool:
    """True if the inserted text is a rotation of the deleted one, or differs by one character."""
    if is_punctuation(deleted) or is_punctuation(inserted):
        return False
    if min(len(deleted), len(inserted)) == 1:
        return deleted == inserted
    rotated = len(deleted) == len(inserted) and inserted in deleted * 2
    return rotated or _nearly_equal(deleted, inserted)


def _nearly_equal(a: str, b: str) -> bool:
    """True for texts with a Levenshtein distance of at most 1."""
    if len(a) < len(b):
        a, b = b, a
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b))
    return a[same + 1 :] == b[same + (len(a) == len(b)) :] if a != b else True


def _trim(run: Run, old: str, new: str) -> Run:
    """A substitution without the characters that both texts begin or end with.

    It becomes an insertion or a deletion if nothing of one text is left.
    """
    begin = 0
    while begin < min(len(old), len(new)) and old[begin] == new[begin]:
        begin += 1
    end = 0
    while end < min(len(old), len(new)) - begin and old[-1 - end] == new[-1 - end]:
        end += 1
    kind = SUBSTITUTION
    if begin + end == len(old):
        kind = INSERTION
    elif begin + end == len(new):
        kind = DELETION
    return Run(
        kind, run.start + begin, run.end - end, run.target_start + begin, run.target_end - end
    )
