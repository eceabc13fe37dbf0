"""Cells as a table prints them: digits, footnotes, and which is the best."""

from string import ascii_lowercase

import numpy as np

from meltpoint.tables.markup import Entry


class Notes:
    """Footnotes, each given a letter once."""

    def __init__(self) -> None:
        self.by_letter: dict[str, str] = {}

    def letter(self, text: str) -> str:
        for letter, known in self.by_letter.items():
            if known == text:
                return letter
        letter = name_of(len(self.by_letter))
        self.by_letter[letter] = text
        return letter


def name_of(index: int) -> str:
    """a ... z, aa, ab ..."""
    prefix = name_of(index // 26 - 1) if index >= 26 else ""
    return prefix + ascii_lowercase[index % 26]


def entry(cell: dict | None, spec, notes: Notes) -> Entry:
    """A cell as printed: "-" where there is none, N/A or "refused" with the reason as a note.

    A frame may say more of a cell: its own `digits`, and a `note`.
    """
    if cell is None or unknown(cell, spec):
        return Entry("-")
    if cell["status"] == "refused":
        return Entry("refused", notes=[notes.letter(cell["reason"])])
    if cell["status"] != "ok":
        return Entry("N/A", notes=[notes.letter(cell["reason"] or "not applicable")])
    sign = "+" if spec.show == "difference" else ""
    error = cell["stderr" if spec.show == "value" else "difference_stderr"]
    digits = places(cell, spec)
    printed = f"{error:.{digits}f}" if spec.error and abs(error) < float("inf") else ""
    known = spec.achieved and cell["source"] == "measured" and cell["requested"] > 0
    small = f"{cell['achieved']:.3f}" if known else ""
    # Rows without a note hold NaN where others of the frame have one.
    remark = cell.get("note")
    letters = [notes.letter(remark)] if isinstance(remark, str) and remark else []
    return Entry(f"{cell[spec.show]:{sign}.{digits}f}", printed, notes=letters, small=small)


def against(cell: dict | None, theirs: float | None, digits: int) -> list[Entry]:
    """What is published of a cell, and ours above it: "-" where there is none, or no number."""
    if theirs is None:
        return [Entry("-"), Entry("-")]
    above = cell["value"] - theirs if cell is not None and cell["status"] == "ok" else np.nan
    return [
        Entry(f"{theirs:.{digits}f}"),
        Entry(f"{above:+.{digits}f}" if np.isfinite(above) else "-"),
    ]


def unknown(cell: dict, spec) -> bool:
    """Whether it was measured, but not compared with dense."""
    compared = spec.show == "value" or not np.isfinite(cell["value"])
    return cell["status"] == "ok" and not compared and np.isnan(cell["difference"])


def places(cell: dict, spec) -> int:
    """Digits after the point."""
    return cell.get("digits", spec.places(cell["score_name"]))


def comparable(cell: dict | None, spec) -> float | None:
    """The value as printed, lower for better; None where it does not compete."""
    if cell is None or cell["status"] != "ok" or not abs(cell[spec.show]) < float("inf"):
        return None
    sign = -1 if cell["better"] == "higher" else 1
    return sign * round(cell[spec.show], places(cell, spec))


def mark(rows, values: list[list[float | None]]) -> None:
    """Best of two or more, second of three or more; equal values share their mark."""
    for column in range(len(values[0]) if values else 0):
        present = [row[column] for row in values if row[column] is not None]
        ranks = sorted(set(present))
        for (_, entries), row in zip(rows, values, strict=True):
            if row[column] is None or len(present) < 2:
                continue
            if row[column] == ranks[0]:
                entries[column].mark = "best"
            elif row[column] == ranks[1] and len(present) > 2 and present.count(ranks[0]) == 1:
                entries[column].mark = "second"
