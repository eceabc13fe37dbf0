"""Published numbers that a table or figure can put beside a study's own."""

import csv
from functools import cache
from pathlib import Path

from meltpoint.data.published.row_levels import SPELLINGS, place

FOLDER = Path(__file__).parents[3] / "resources/published"
NEEDED = {"method", "level", "ppl"}


@cache
def names() -> tuple[str, ...]:
    """The published tables of perplexity by method and level, by their names."""
    files = sorted(FOLDER.glob("*.csv"))
    return tuple(f.stem for f in files if f.stem in SPELLINGS or set(columns(f)) >= NEEDED)


def columns(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


@cache
def methods(name: str) -> tuple[str, ...]:
    """The methods of a published table, in its order."""
    places = (place(name, row) for row in rows(name))
    return tuple(dict.fromkeys(found[0] for found in places if found))


@cache
def models(name: str) -> tuple[str, ...]:
    """The models of a published table that holds several, in its order."""
    return tuple(dict.fromkeys(row["model"] for row in rows(name) if "model" in row))


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))
