"""Published numbers that a table can put beside a study's own."""

import csv
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "resources/published"
NEEDED = {"method", "level", "ppl"}


@cache
def names() -> tuple[str, ...]:
    """The published tables of perplexity by method and level, by their names."""
    return tuple(f.stem for f in sorted(FOLDER.glob("*.csv")) if set(columns(f)) >= NEEDED)


def columns(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


@cache
def methods(name: str) -> tuple[str, ...]:
    """The methods of a published table, in its order."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return tuple(dict.fromkeys(row["method"] for row in csv.DictReader(file)))
