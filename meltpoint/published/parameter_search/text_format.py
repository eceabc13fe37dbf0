"""A report of sections, written as Markdown and as plain text."""

from dataclasses import dataclass
from textwrap import fill

import pandas as pd

WIDTH = 96


@dataclass(frozen=True)
class Section:
    """A heading of a level, sentences below it, and a table of texts."""

    title: str
    level: int = 3
    text: str = ""
    table: pd.DataFrame | None = None


def to_markdown(sections: list[Section]) -> str:
    """The sections as Markdown."""
    blocks = []
    for section in sections:
        blocks.append(f"{'#' * section.level} {section.title}")
        blocks += [section.text] if section.text else []
        if section.table is not None and len(section.table):
            head, *rows = lines(section.table, " | ")
            rule = " | ".join("-" * len(cell) for cell in head.split(" | "))
            blocks.append("\n".join(f"| {line} |" for line in (head, rule, *rows)))
    return "\n\n".join(blocks) + "\n"


def to_text(sections: list[Section]) -> str:
    """The sections as plain text: underlined headings, wrapped sentences."""
    blocks = []
    for section in sections:
        rule = "=-"[section.level - 1] * len(section.title) if section.level < 3 else ""
        blocks.append(f"{section.title}\n{rule}" if rule else section.title)
        blocks += [fill(section.text, WIDTH)] if section.text else []
        if section.table is not None and len(section.table):
            blocks.append("\n".join(f"  {line}".rstrip() for line in lines(section.table, "  ")))
    return "\n\n".join(blocks) + "\n"


def lines(table: pd.DataFrame, between: str) -> list[str]:
    """The head and the rows of a table as lines with aligned columns."""
    rows = [list(table), *table.to_numpy().tolist()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = ([cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows)
    return [between.join(row) for row in padded]
