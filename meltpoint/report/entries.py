"""The items of a report page."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """One entry of a report page; its paths are relative to the results folder.

    category: the section of the item; sections come in the order of their first items
    name: its anchor, unique on the page: letters, digits, `-`, `_` and `.`
    caption: one or more sentences, in Markdown's inline markup
    table: a CSV; a Markdown file of the same stem beside it is shown instead, with its marks and
        footnotes, and the CSV is for download
    figure: an SVG
    text: a Markdown or plain text file
    curves: a CSV of fitted curves, of which the page shows a few columns; the CSV is for download
    """

    category: str
    name: str
    title: str
    caption: str = ""
    table: Path | None = None
    figure: Path | None = None
    text: Path | None = None
    curves: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The files that the item names."""
        files = (self.table, self.figure, self.text, self.curves)
        return [file for file in files if file is not None]
