"""What is wrong with a published table beyond the kinds of its cells."""

from meltpoint.errors import MeltpointError


def fail(table: str, index: int, column: str, problem: str) -> None:
    """Raises MeltpointError for a cell of a table; `index` counts its rows from 0."""
    raise MeltpointError(f"{table}.csv, row {index + 2}, column {column!r}: {problem}")
