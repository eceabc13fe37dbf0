"""Reads documents from a corpus's file of any format, compression and encoding."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from meltpoint.data.records import texts_of
from meltpoint.errors import MeltpointError
from meltpoint.text import one_of

SUFFIXES = {
    **dict.fromkeys((".txt", ".text", ".md", ".rst", ".raw", ".tokens", ".tex"), "text"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".jl"), "json"),
    ".csv": "csv",
    ".tsv": "tsv",
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
COMPRESSED = (".gz", ".bz2", ".xz", ".lzma", ".zst")
# Byte order marks in the order of the search: the mark of UTF-32 begins with that of UTF-16.
MARKS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
MARK = "\ufeff"
BETWEEN_VALUES = re.compile(rf"[ \t\n\r{MARK}]*")
# A field of a table may hold a whole book.
csv.field_size_limit(2**31 - 1)


def suffix_of(path: Path) -> str:
    """The suffixes that decide how a file is read, in lower case: ".json.gz", ".txt"."""
    *_, before, last = ("", "", *(suffix.lower() for suffix in path.suffixes))
    return before + last if last in COMPRESSED else last


def format_of(path: Path, declared: str | None) -> str:
    """Format of a file: "text", "json", "csv", "tsv" or "parquet".

    declared: the corpus's key `format`, which takes precedence over the suffix. Raises MeltpointError
    for an unknown suffix.
    """
    suffix = suffix_of(path)
    for end in COMPRESSED:
        suffix = suffix.removesuffix(end)
    if declared or suffix in SUFFIXES:
        return declared or SUFFIXES[suffix]
    if suffix == ".npy":
        raise MeltpointError(f"{path.name} holds tokens: write `tokens:` in the place of `path:`")
    kind = f"the suffix {suffix} is" if suffix else "a file without a suffix is"
    raise MeltpointError(
        f"{path.name}: {kind} not known to hold text: say with `format` what it holds "
        f"({one_of(sorted(set(SUFFIXES.values())))}), or convert it"
    )


def read(path: Path, corpus: dict) -> list[str]:
    """The documents of a local corpus's file, without byte order marks.

    Raises MeltpointError for a file that cannot be read or has no texts under the corpus's `field`.
    """
    format = format_of(path, corpus["format"])
    if format == "parquet":
        texts = _parquet(path, corpus["field"])
    else:
        text = _decode(path, _bytes(path))
        texts = READERS[format](path, text, corpus)
    return [text.lstrip(MARK) for text in texts]


def _bytes(path: Path) -> bytes:
    """A file's content, decompressed."""
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".lzma": lzma.open,
              ".zst": _open_zstandard}.get(path.suffix.lower(), Path.open)  # fmt: skip
    try:
        with opener(path, "rb") as file:
            return file.read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise MeltpointError(f"{path}: the corpus cannot be read: {error}") from None


def _open_zstandard(path: Path, _: str):
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path), "rb"), "zstd")


def _decode(path: Path, data: bytes) -> str:
    """The text of bytes in UTF-8 or in the encoding of a byte order mark, with newlines as line ends.

    Raises MeltpointError for bytes that are not text in that encoding.
    """
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding).lstrip(MARK)
    except UnicodeDecodeError as error:
        raise MeltpointError(
            f"{path}: the corpus cannot be read as {encoding.upper()} text: {error}"
        ) from None
    if "\0" in text:
        raise MeltpointError(
            f"{path}: the corpus holds NUL characters: it is no text, or text in UTF-16 without a "
            "byte order mark: save it as UTF-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _plain(path: Path, text: str, corpus: dict) -> list[str]:
    # If files were joined, there are marks at the starts of lines.
    text = text.replace(f"\n{MARK}", "\n")
    if corpus["format"] is None and _holds_records(text):
        raise MeltpointError(
            f"{path}: the corpus is JSON: say `format: json`, or `format: text` to read its braces "
            "and keys as text"
        )
    return _lines(text, corpus["lines"])


def _holds_records(text: str) -> bool:
    """True if a text begins with a JSON object, or with a list of objects or texts."""
    start = text.lstrip()
    if not start.startswith(("{", "[")):
        return False
    try:
        value, _ = json.JSONDecoder().raw_decode(start)
    except ValueError:
        return False
    entries = [value] if isinstance(value, dict) else value
    return bool(entries) and all(isinstance(entry, dict | str) for entry in entries)


def _lines(text: str, lines: str | None) -> list[str]:
    if lines is None:
        return [text]
    if lines == "strip":
        return [line.strip() for line in text.split("\n") if line.strip()]
    return [f"{line}\n" if line.strip() else "" for line in text.removesuffix("\n").split("\n")]


def _json(path: Path, text: str, corpus: dict) -> list[str]:
    """The texts of one JSON value, or of the values of JSON lines."""
    try:
        values = list(_values(text))
    except ValueError as error:
        raise MeltpointError(f"{path}: no valid {suffix_of(path)}: {error}") from None
    return texts_of(path, values, corpus["field"])


def _values(text: str) -> Iterator[object]:
    """The JSON values in a text, which follow one another."""
    decoder, place = json.JSONDecoder(), BETWEEN_VALUES.match(text).end()
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        yield value
        place = BETWEEN_VALUES.match(text, place).end()


def _table(path: Path, text: str, corpus: dict) -> list[str]:
    """The texts in the corpus's column of a table, whose first row names the columns."""
    field = corpus["field"]
    delimiter = "\t" if format_of(path, corpus["format"]) == "tsv" else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        head = next(rows, [])
        column = _column(path, head, field)
        short = len(head)
        texts = [row[column] for row in rows if row and _is_whole(row, short)]
    except (csv.Error, IndexError) as error:
        raise MeltpointError(f"{path}: no valid table, line {rows.line_num}: {error}") from None
    return texts


def _is_whole(row: list[str], columns: int) -> bool:
    if len(row) != columns:
        raise IndexError(f"{len(row)} columns where the first line names {columns}")
    return True


def _column(path: Path, names: list[str], field: str) -> int:
    if field not in names:
        raise MeltpointError(
            f"{path}: there is no column {field!r} ({', '.join(names)}): set the corpus's `field`"
        )
    return names.index(field)


def _parquet(path: Path, field: str) -> list[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _column(path, file.schema_arrow.names, field)
            batches = [batch[0].to_pylist() for batch in file.iter_batches(columns=[field])]
    except (OSError, pyarrow.ArrowException) as error:
        raise MeltpointError(f"{path}: no readable parquet file: {error}") from None
    return texts_of(path, [list(chain.from_iterable(batches))], field)


READERS = {"text": _plain, "json": _json, "csv": _table, "tsv": _table}
