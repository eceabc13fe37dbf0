"""The page that the tests read and open."""

from pathlib import Path

import pytest

from meltpoint.report.build import build
from tests.report.pages import CELLS, ITEMS, RAW, TEXT, described, write_figures, write_table


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A page of every kind of item, and of cells."""
    folder = tmp_path_factory.mktemp("report")
    write_figures(folder / "figures")
    write_table(folder / "tables/a")
    (folder / "raw.csv").write_text(RAW)
    (folder / "text.md").write_text(TEXT)
    for n, content in enumerate(CELLS):
        content.write(folder / f"{n}.json")
    build(folder / "report.html", described(ITEMS), sorted(folder.glob("*.json")))
    return folder / "report.html"
