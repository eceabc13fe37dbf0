"""Published tables as checked rows; an error is one sentence with file, row and column."""

import csv
from pathlib import Path
from typing import NoReturn

from pydantic import TypeAdapter, ValidationError

from meltpoint.data.published.rows import MODELS, OwnTableRow, Row
from meltpoint.errors import MeltpointError
from meltpoint.files import from_here
from meltpoint.validation import problem

FOLDER = Path(__file__).parents[3] / "resources/published"
# The key under which csv.DictReader puts the surplus cells of a row.
TOO_MANY = "cells beyond the header's"


def read_rows(name: str, folder: Path = FOLDER) -> list[Row]:
    """Rows of the table `name`, in its class of rows; a table without a class is a user's own.

    Raises MeltpointError for a file that cannot be read, and for a wrong cell. The sentence names the
    file, the line and the column.
    """
    path, model = Path(folder) / f"{name}.csv", MODELS.get(name, OwnTableRow)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey=TOO_MANY, strict=True)
            numbered = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MeltpointError(f"{from_here(path)} cannot be read as a CSV file ({error})") from None
    if not numbered:
        raise MeltpointError(f"{from_here(path)} has no rows below its header")
    lines, cells = zip(*numbered, strict=True)
    for line, row in numbered:
        if TOO_MANY in row:
            last = reader.fieldnames[-1]
            refuse(path, line, last, f"{len(row[TOO_MANY])} more cells follow than the header has")
    try:
        rows = TypeAdapter(list[model]).validate_python(cells)
    except ValidationError as error:
        refuse_first(error, path, lines)
    refuse_duplicates(rows, path, lines)
    return rows


def refuse(path: Path, line: int, column: str, problem: str) -> NoReturn:
    """Raises MeltpointError for a cell; the header is line 1."""
    raise MeltpointError(f"{from_here(path)}, row {line}, column {column!r}: {problem}")


def refuse_first(error: ValidationError, path: Path, lines: tuple[int, ...]) -> NoReturn:
    """Raises MeltpointError for the first of pydantic's errors, with the place of its cell."""
    first = error.errors()[0]
    row, column = first["loc"][:2]
    if first["type"] == "missing":
        refuse(path, 1, column, f"it is missing (the file has {', '.join(first['input'])})")
    refuse(path, lines[row], column, problem(first))


def refuse_duplicates(rows: list[Row], path: Path, lines: tuple[int, ...]) -> None:
    """Raises MeltpointError for a row whose key is that of an earlier one."""
    first: dict[tuple, int] = {}
    for line, row in zip(lines, rows, strict=True):
        key = {column: getattr(row, column) for column in row.key}
        if (named := tuple(key.values())) in first:
            words = ", ".join(f"{column} {value}" for column, value in key.items())
            problem = f"{words} is in row {first[named]} already"
            refuse(path, line, next(reversed(key)), problem)
        first[named] = line
