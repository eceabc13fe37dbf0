"""Published numbers that a table or figure can compare a study's own with."""

import csv
from functools import cache
from pathlib import Path

from meltpoint.data.published.read import FOLDER, read_rows
from meltpoint.data.published.rows import (
    MODELS,
    PERPLEXITY,
    OwnTableRow,
    PerplexityRow,
    StrategyRow,
)

__all__ = ["FOLDER", "PERPLEXITY", "columns", "methods", "models", "names", "strategy_tables"]


@cache
def names() -> tuple[str, ...]:
    """Names of the published tables of perplexity by method and level."""
    return tuple(file.stem for file in sorted(FOLDER.glob("*.csv")) if has_perplexities(file))


def strategy_tables() -> tuple[str, ...]:
    """Names of the published tables of scores by decoding strategy."""
    return tuple(name for name, row in MODELS.items() if issubclass(row, StrategyRow))


def has_perplexities(file: Path) -> bool:
    """True for a CSV file of perplexities: a known table, or a user's table with the right columns."""
    if file.stem in MODELS:
        return issubclass(MODELS[file.stem], PerplexityRow)
    with file.open(newline="", encoding="utf-8") as opened:
        header = next(csv.reader(opened), [])
    return set(OwnTableRow.model_fields) <= set(header)


@cache
def columns(name: str) -> tuple[str, ...]:
    """Names of a published table's columns of numbers, the perplexity included."""
    numbers = [row.model_dump(exclude=set(row.key)) for row in read_rows(name)]
    return tuple(key for key, value in numbers[0].items() if isinstance(value, float))


@cache
def methods(name: str) -> tuple[str, ...]:
    """Methods of a published table, in its order."""
    steps = (row.step() for row in read_rows(name))
    return tuple(dict.fromkeys(step[0] for step in steps if step))


@cache
def models(name: str) -> tuple[str, ...]:
    """Models of a published table in its order; empty for a table without a column of models."""
    rows = (row.model_dump() for row in read_rows(name))
    return tuple(dict.fromkeys(row["model"] for row in rows if "model" in row))
