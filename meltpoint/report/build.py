"""A report page from what a job spec says of it, the files that it shows, and a study's cells."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from meltpoint.report import cell_summary
from meltpoint.report.entries import Item
from meltpoint.report.page import entries_of, write


def build(target: Path, page: Mapping, cells: Iterable[Path] = ()) -> None:
    """Write the page `target`; where there are cells, they are summed up before and behind the rest.

    page: title, lead, items (as dictionaries, their files relative to the folder of `target`) and,
    of a study, sources (of models, by name). Raises MeltpointError for a file that cannot be read.
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
    """An item from a job spec, where a path is a string."""
    paths = {
        key: fields.get(key) and Path(fields[key]) for key in ("table", "figure", "text", "curves")
    }
    return Item(**{**fields, **paths})
