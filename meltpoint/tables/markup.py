"""A printed table, and its text in CSV, Markdown and LaTeX."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass
class Entry:
    """One printed cell: its text, its standard error, "best" or "second", its notes' letters.

    `small` is printed behind it in small type. `tied` is true for an entry that a test cannot tell
    apart from the best of its column.
    """

    text: str
    error: str = ""
    mark: str = ""
    notes: list[str] = field(default_factory=list)
    small: str = ""
    tied: bool = False


@dataclass(frozen=True)
class Table:
    """A table before it is written.

    `labels` are the heads of the label columns, `heads` those of the entries. A row is its labels and
    its entries. `notes` are footnotes by letter, `remarks` sentences below the table. `cells` is the
    frame for the CSV file.
    """

    caption: str
    labels: list[str]
    heads: list[str]
    rows: list[tuple[list[str], list[Entry]]]
    notes: dict[str, str]
    remarks: list[str]
    cells: pd.DataFrame


def to_csv(table: Table) -> str:
    """CSV text of the table's cells, one for each line, at full precision.

    Booleans are in lower case, and missing values are empty.
    """
    return table.cells.map(in_lower_case).to_csv(index=False, lineterminator="\n")


def in_lower_case(value: object) -> object:
    """The texts "true" and "false" for booleans, as in published tables; other values unchanged."""
    return str(bool(value)).lower() if isinstance(value, bool | np.bool_) else value


def to_markdown(table: Table) -> str:
    """Markdown text: the best in bold, the second underlined, ties with a sign, notes below."""
    body = [
        [*map(escape_markdown, labels), *(render(e, MARKDOWN) for e in entries)]
        for labels, entries in table.rows
    ]
    grid = [[*table.labels, *table.heads], *body]
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    rule = "|".join(
        "-" * (w + 2) if i < len(table.labels) else "-" * (w + 1) + ":"
        for i, w in enumerate(widths)
    )
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in grid
    ]
    notes = [f"<sup>{letter}</sup> {text}  " for letter, text in table.notes.items()]
    above = [table.caption, ""] if table.caption else []
    below = ["", *notes, *(f"{text}  " for text in table.remarks)]
    return "\n".join([*above, lines[0], f"|{rule}|", *lines[1:], *below]).rstrip() + "\n"


def to_latex(table: Table) -> str:
    """LaTeX text: a table environment, for a document that loads booktabs."""
    columns = "l" * len(table.labels) + "r" * len(table.heads)
    lines = [r"\begin{table}", r"\centering"]
    if table.caption:
        lines.append(rf"\caption{{{escape_latex(table.caption)}}}")
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [latex_row(map(escape_latex, [*table.labels, *table.heads])), r"\midrule"]
    for index, (labels, entries) in enumerate(table.rows):
        if index and blocked(table) and labels[0] != table.rows[index - 1][0][0]:
            lines.append(r"\midrule")
        printed = (render(e, LATEX) for e in entries)
        lines.append(latex_row([*map(escape_latex, labels), *printed]))
    lines += [r"\bottomrule", r"\end{tabular}", *latex_notes(table), r"\end{table}"]
    return "\n".join(lines) + "\n"


def blocked(table: Table) -> bool:
    """True if rows with equal first labels form a block, which a line separates from the next."""
    return len(table.labels) > 1 and table.labels[0] != "method"


def latex_row(cells: Iterable[str]) -> str:
    """One line of a tabular."""
    return " & ".join(cells) + r" \\"


def latex_notes(table: Table) -> list[str]:
    """The notes as small lines below the tabular."""
    notes = [
        rf"\textsuperscript{{{letter}}}\,{escape_latex(text)}"
        for letter, text in table.notes.items()
    ]
    notes += [escape_latex(text) for text in table.remarks]
    if not notes:
        return []
    return [r"\par\smallskip", r"{\footnotesize\raggedright", *(f"{n}\\par" for n in notes), "}"]


@dataclass(frozen=True)
class Markup:
    """Templates of one format for marks, errors, notes and small print, and its escape function."""

    best: str
    second: str
    error: str
    note: str
    small: str
    tied: str
    escape: Callable[[str], str]


def escape_markdown(text: str) -> str:
    """The text with Markdown's special characters escaped."""
    for character in "\\|*_<`":
        text = text.replace(character, "&lt;" if character == "<" else "\\" + character)
    return text


def escape_latex(text: str) -> str:
    """The text with LaTeX's special characters, dashes and signs replaced by commands."""
    special = {
        **{c: "\\" + c for c in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{
            "<": r"\textless{}",
            ">": r"\textgreater{}",
            "–": "--",
            "±": r"$\pm$",
            "≈": r"$\approx$",
        },
    }
    return "".join(special.get(character, character) for character in text)


MARKDOWN = Markup(
    "**{}**",
    "<u>{}</u>",
    "{} ± {}",
    "{}<sup>{}</sup>",
    "{} <sub>{}</sub>",
    "{} ≈",
    escape_markdown,
)
LATEX = Markup(
    r"\textbf{{{}}}",
    r"\underline{{{}}}",
    r"{} $\pm$ {}",
    r"{}\textsuperscript{{{}}}",
    r"{}\,{{\scriptsize {}}}",
    r"{} $\approx$",
    escape_latex,
)


def render(printed: Entry, markup: Markup) -> str:
    """Text of an entry in a format."""
    text = markup.escape(printed.text)
    if printed.mark:
        text = getattr(markup, printed.mark).format(text)
    if printed.error:
        text = markup.error.format(text, printed.error)
    if printed.tied:
        text = markup.tied.format(text)
    if printed.small:
        text = markup.small.format(text, printed.small)
    return markup.note.format(text, ",".join(printed.notes)) if printed.notes else text


def save(table: Table, stem: Path) -> None:
    """Writes {stem}.csv, {stem}.md and {stem}.tex."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, write in ((".csv", to_csv), (".md", to_markdown), (".tex", to_latex)):
        Path(f"{stem}{suffix}").write_text(write(table), encoding="utf-8")
