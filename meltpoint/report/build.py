"""Builds a report page from its job spec, the files that it shows, and a study's cells."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from meltpoint.report import cell_summary
from meltpoint.report.entries import Item
from meltpoint.report.page import entries_of, write


def build(target: Path, page: Mapping, cells: Iterable[Path] = ()) -> None:
    """Writes the page `target`. Cells, if any, are summed up before and behind the items.

    page: title, lead, items (dictionaries; their files are relative to the folder of `target`), and for
    a study the sources of its models by name. Raises MeltpointError for a file that cannot be read.
    """
    shown = entries_of(map(item, page["items"]), target.parent)
    if measured := cell_summary.read(cells):
        shown = [
            *cell_summary.before(measured, page["sources"]),
            *shown,
            *cell_summary.after(measured),
        ]
    write(target, page["title"], page["lead"], shown)


def item(fields: Mapping) -> Item:
    """An item from its form in a job spec, in which paths are strings."""
    paths = {
        key: fields.get(key) and Path(fields[key]) for key in ("table", "figure", "text", "curves")
    }
    return Item(**{**fields, **paths})
