"""Finds the texts in a JSON file: a list of records, records by name, a column, or one nested."""

from pathlib import Path

from meltpoint.errors import MeltpointError
from meltpoint.text import one_of


def texts_of(path: Path, values: list, field: str) -> list[str]:
    """The texts of a file's JSON values, in their order.

    A single value may be a list, an object of records, a column of texts, or an object with one of
    these. Several values are JSON lines. Raises MeltpointError if the place of the texts is ambiguous,
    or if an entry lacks a text.
    """
    entries = values if len(values) != 1 else _entries(path, values[0], field)
    texts = [entry.get(field) if isinstance(entry, dict) else entry for entry in entries]
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise MeltpointError(
                f"{path}: not every entry has a text under {field!r}: set the corpus's `field` (the "
                f"first without is entry {number} of {len(texts)})"
            )
    return texts


def _entries(path: Path, value: object, field: str) -> list:
    """The records, or the texts, of one JSON value."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else [value]
    if _are_records(list(value.values()), field):
        return list(value.values())
    candidates = {key: _nested(part, field) for key, part in value.items() if key != field}
    candidates[field] = _column(value, field)
    clear = {key: entries for key, entries in candidates.items() if entries}
    if len(clear) == 1:
        return next(iter(clear.values()))
    if clear:
        raise MeltpointError(
            f"{path}: it is an object with texts under {one_of(map(repr, clear))}: write one list of "
            f"texts, or of objects with the key {field!r}"
        )
    if len(value) == 1 and _are_texts(only := next(iter(value.values()))):
        return only
    raise MeltpointError(
        f"{path}: not every entry has a text under {field!r}: set the corpus's `field`, or write a "
        f"list of texts or of objects with that key (it is an object with the keys {_some(value)})"
    )


def _column(value: dict, field: str) -> list | None:
    """The texts under an object's field: one text, or a column of texts; None if it is neither."""
    column = value.get(field)
    if isinstance(column, str):
        return [column]
    # pandas writes a column as an object, by the numbers of rows.
    entries = list(column.values()) if isinstance(column, dict) else column
    return entries if _are_texts(entries) else None


def _nested(part: object, field: str) -> list | None:
    """The records, or the column, in the value of a key other than the field; None without any."""
    entries = list(part.values()) if isinstance(part, dict) else part
    if _are_records(entries, field):
        return entries
    return _column(part, field) if isinstance(part, dict) else None


def _are_records(values: object, field: str) -> bool:
    lists = isinstance(values, list) and bool(values)
    return lists and all(isinstance(value, dict) and field in value for value in values)


def _are_texts(values: object) -> bool:
    lists = isinstance(values, list) and bool(values)
    return lists and all(isinstance(value, str) for value in values)


def _some(value: dict) -> str:
    names = [repr(key) for key in list(value)[:5]]
    return ", ".join([*names, "..."] if len(value) > 5 else names)
