"""Turns cells into printed entries: digits, footnotes, and marks of the best."""

from string import ascii_lowercase

import numpy as np

from meltpoint.analysis.pairs import not_told_apart
from meltpoint.analysis.samples import Sample
from meltpoint.tables.markup import Entry
from meltpoint.tables.specs import EntrySpec


class Notes:
    """Footnotes by letter; equal texts share a letter."""

    def __init__(self) -> None:
        self.by_letter: dict[str, str] = {}

    def letter(self, text: str) -> str:
        """Letter of a note; a new text gets the next letter."""
        for letter, known in self.by_letter.items():
            if known == text:
                return letter
        letter = name_of(len(self.by_letter))
        self.by_letter[letter] = text
        return letter


def name_of(index: int) -> str:
    """Letters of note number `index`, from 0: a to z, then aa, ab and so on."""
    prefix = name_of(index // 26 - 1) if index >= 26 else ""
    return prefix + ascii_lowercase[index % 26]


def entry(cell: dict | None, spec: EntrySpec, notes: Notes) -> Entry:
    """The printed form of a cell: "-" without a cell, N/A or "refused" with the reason as a note.

    Optional columns of a cell are `note`, `mark`, `digits`, `signed` (print the sign), and `text`,
    which replaces the number.
    """
    if cell is None:
        return Entry("-")
    if isinstance(cell.get("text"), str):
        return annotated(Entry(cell["text"]), cell, notes)
    if unknown(cell, spec):
        return Entry("-")
    if cell["status"] == "refused":
        return Entry("refused", notes=[notes.letter(cell["reason"])])
    if cell["status"] != "ok":
        return Entry("N/A", notes=[notes.letter(cell["reason"] or "not applicable")])
    sign = "+" if spec.show == "difference" or cell.get("signed") is True else ""
    error = cell["stderr" if spec.show == "value" else "difference_stderr"]
    digits = places(cell, spec)
    printed = f"{error:.{digits}f}" if spec.error and abs(error) < float("inf") else ""
    known = spec.show_achieved and cell["source"] == "measured" and cell["requested"] > 0
    small = f"{cell['achieved']:.3f}" if known else ""
    text = f"{cell[spec.show]:{sign}.{digits}f}"
    return annotated(Entry(text, printed, small=small), cell, notes)


def annotated(printed: Entry, cell: dict, notes: Notes) -> Entry:
    """The entry itself, changed: with its cell's mark and the letter of its cell's note, if any."""
    note, mark = (cell.get(column) for column in ("note", "mark"))
    printed.mark = mark if isinstance(mark, str) else ""
    printed.notes = [notes.letter(note)] if isinstance(note, str) and note else []
    return printed


def against(cell: dict | None, published: float | None, digits: int) -> tuple[str, str]:
    """Texts of a published value and of the cell minus that value; "-" without a number."""
    if published is None:
        return "-", "-"
    above = np.nan
    if cell is not None and cell["status"] == "ok":
        above = cell["value"] - published
    return f"{published:.{digits}f}", f"{above:+.{digits}f}" if np.isfinite(above) else "-"


def unknown(cell: dict, spec: EntrySpec) -> bool:
    """True for a cell that was measured, but not compared with dense."""
    compared = spec.show == "value" or not np.isfinite(cell["value"])
    return cell["status"] == "ok" and not compared and np.isnan(cell["difference"])


def places(cell: dict, spec: EntrySpec) -> int:
    """Digits after the point: the cell's own, or those of its score."""
    digits = cell.get("digits")
    return spec.places(cell["score_name"]) if digits is None or np.isnan(digits) else int(digits)


def comparable(cell: dict | None, spec: EntrySpec) -> float | None:
    """The rounded value with its sign such that lower is better; None for a cell that cannot be marked.

    The cell's `better` is "lower", "higher", or "" for a cell that is never marked.
    """
    if cell is None or isinstance(cell.get("text"), str) or cell.get("better") == "":
        return None
    if cell["status"] != "ok" or not abs(cell[spec.show]) < float("inf"):
        return None
    return (-1 if cell["better"] == "higher" else 1) * round(cell[spec.show], places(cell, spec))


def mark(
    rows: list[tuple[list[str], list[Entry]]],
    values: list[list[float | None]],
    samples: list[list[object]] | None = None,
) -> None:
    """Marks the best of two or more entries of a column, and the second of three or more, in place.

    values, samples: for each row one item for each column; None in `values` for an entry that cannot be
    marked. Equal values share their mark. With samples, an entry that a test cannot tell apart from the
    best is marked as best too, and as tied.
    """
    for column in range(len(values[0]) if values else 0):
        numbers = [row[column] for row in values]
        present = [number for number in numbers if number is not None]
        if len(present) < 2:
            continue
        ranks = sorted(set(present))
        best = [number == ranks[0] for number in numbers]
        tied = ties(best, numbers, [row[column] for row in samples] if samples else [])
        after = [
            n for n, t in zip(numbers, tied, strict=True) if n not in (None, ranks[0]) and not t
        ]
        single = sum(best) + sum(tied) == 1 and len(present) > 2
        for (_, entries), number, is_best, is_tied in zip(rows, numbers, best, tied, strict=True):
            entries[column].tied = is_tied
            if is_best or is_tied:
                entries[column].mark = "best"
            elif single and number is not None and number == min(after):
                entries[column].mark = "second"


def ties(best: list[bool], numbers: list[float | None], samples: list[object]) -> list[bool]:
    """For each entry of a column true if a test cannot tell it apart from the best; false for that.

    best: true for the best entries. samples: each entry's sample, if it has one.
    """
    tied = [False] * len(best)
    leader = best.index(True)
    if not samples or not isinstance(samples[leader], Sample):
        return tied
    others = [
        index
        for index, sample in enumerate(samples)
        if isinstance(sample, Sample) and numbers[index] is not None and not best[index]
    ]
    found = not_told_apart(samples[leader], [samples[index] for index in others])
    for index, same in zip(others, found, strict=True):
        tied[index] = bool(same)
    return tied
