"""A published table as a data frame: every cell checked, what is wrong said by row and column."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from meltpoint.data.published import FOLDER
from meltpoint.data.published.column_types import cell
from meltpoint.data.published.schema import OTHERS, SCHEMAS, Schema
from meltpoint.errors import MeltpointError
from meltpoint.files import from_here


def read(name: str, folder: Path = FOLDER) -> pd.DataFrame:
    """The table of a name, its columns in the file's order, each of the kind that its schema says.

    Numbers are floats, with NaN where nothing was published; whole numbers that may be missing are
    floats too. Levels are spelled as in `meltpoint.chain` ("0.5", "2of4").
    Raises MeltpointError in one sentence that names the file, the line and the column.
    """
    path = Path(folder) / f"{name}.csv"
    schema = SCHEMAS.get(name, OTHERS)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(checked(csv.reader(file, strict=True), path, schema))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MeltpointError(f"{from_here(path)} cannot be read as a CSV file ({error})") from None
    if not rows:
        raise MeltpointError(f"{from_here(path)} has no rows below its header")
    return pd.DataFrame(rows)


def checked(reader, path: Path, schema: Schema) -> Iterator[dict]:
    """The rows as dictionaries, each cell of its kind, no row named twice."""
    header = next(reader, [])
    check_header(header, path, schema)
    lines: dict[tuple, int] = {}
    for values in reader:
        if not values:
            continue
        line = reader.line_num
        if len(values) != len(header):
            raise MeltpointError(
                f"{from_here(path)}, row {line}: {len(values)} cells in place of the header's "
                f"{len(header)}, from column {header[min(len(values), len(header)) - 1]!r} on"
            )
        row = row_of(
            dict(zip(header, values, strict=True)), f"{from_here(path)}, row {line}", schema
        )
        key = tuple(row[column] for column in schema.key)
        if key in lines:
            raise MeltpointError(duplicate(path, line, lines[key], schema.key, key))
        lines[key] = line
        yield row


def check_header(header: list[str], path: Path, schema: Schema) -> None:
    for column in schema.columns:
        if column not in header:
            known = ", ".join(header) or "none"
            raise MeltpointError(
                f"{from_here(path)}, row 1: column {column!r} is missing (it has {known})"
            )
    for column in header:
        if header.count(column) > 1:
            raise MeltpointError(f"{from_here(path)}, row 1: column {column!r} is there twice")


def row_of(values: dict[str, str], place: str, schema: Schema) -> dict:
    """One row, each cell of its kind; columns that the schema does not know stay as they are."""
    row = {}
    for column, value in values.items():
        try:
            kind = schema.columns.get(column)
            row[column] = value if kind is None else cell(kind, value)
        except ValueError as error:
            raise MeltpointError(f"{place}, column {column!r}: {error}") from None
    return row


def duplicate(path: Path, line: int, first: int, columns: tuple[str, ...], key: tuple) -> str:
    named = ", ".join(f"{column} {value}" for column, value in zip(columns, key, strict=True))
    where = " and ".join(repr(column) for column in columns)
    return (
        f"{from_here(path)}, row {line}: {named} stands in row {first} already; "
        f"a row is named once by its columns {where}"
    )
