"""Files of texts: every format and encoding gives the same documents, or is refused."""

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import pytest

from meltpoint.data.text_files import format_of, read, suffix_of
from meltpoint.errors import MeltpointError
from meltpoint.study.sections import LocalCorpus

TEXTS = ['Once "upon" a time,\nthere was', "a café {with} braces", "and a cat."]
RECORDS = [{"id": n, "text": text} for n, text in enumerate(TEXTS)]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
BOM = "\ufeff"


def texts(path: Path, **keys) -> list[str]:
    return read(path, LocalCorpus(path=path, **keys).model_dump(mode="json", exclude={"path"}))


def written(path: Path, content: bytes | object) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def table(delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    rows = csv.DictWriter(file, ["id", "text"], delimiter=delimiter)
    rows.writeheader()
    rows.writerows(RECORDS)
    return file.getvalue().encode()


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "json", "jl", "JSONL"])
def test_json_lines_are_read_under_every_name_of_theirs(tmp_path, suffix):
    assert texts(written(tmp_path / f"c4.{suffix}", LINES)) == TEXTS


@pytest.mark.parametrize("suffix", ["txt", "md", "raw", "tokens", "TXT"])
def test_text_is_one_document(tmp_path, suffix):
    content = "\n".join(TEXTS)
    assert texts(written(tmp_path / f"wiki.test.{suffix}", content.encode())) == [content]


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables_have_a_column_of_texts(tmp_path, suffix, delimiter):
    assert texts(written(tmp_path / f"a.{suffix}", table(delimiter))) == TEXTS


def test_parquet_has_a_column_of_texts(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == TEXTS
    with pytest.raises(MeltpointError, match=r"no column 'body' \(id, text\): set the corpus's `f"):
        texts(tmp_path / "a.parquet", field="body")


def zstandard(content: bytes) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_files_are_unpacked(tmp_path, suffix):
    shard = written(tmp_path / f"c4-train.00000.json.{suffix}", COMPRESSORS[suffix](LINES))
    assert texts(shard) == TEXTS
    cut = written(tmp_path / f"cut.json.{suffix}", shard.read_bytes()[:-12])
    with pytest.raises(MeltpointError, match="cannot be read"):
        texts(cut)


SHAPES = {
    "list of records": RECORDS,
    "list of texts": TEXTS,
    "records by name": {f"story {n}": record for n, record in enumerate(RECORDS)},
    "column": {"id": [0, 1, 2], "text": TEXTS},
    "column by row": {"text": {str(n): text for n, text in enumerate(TEXTS)}},
    "nested list": {"version": "1.0", "data": RECORDS},
    "nested records": {"version": "1.0", "data": {f"story {n}": r for n, r in enumerate(RECORDS)}},
    "nested column": {"version": "1.0", "data": {"text": TEXTS}},
    "nested texts": {"stories": TEXTS},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_json_objects_are_read_by_the_field(tmp_path, shape):
    assert texts(written(tmp_path / "a.json", SHAPES[shape])) == TEXTS


UNCLEAR = [
    ({"story 1": "one", "story 2": "two"}, "an object with the keys 'story 1', 'story 2'"),
    ({"train": RECORDS, "test": RECORDS}, "texts under 'train' or 'test': write one list"),
    ({"text": "A data set", "data": RECORDS}, "texts under 'data' or 'text': write one list"),
    ({"body": "one", "tags": ["two", "three"]}, "not every entry has a text under 'text'"),
    ({}, "not every entry has a text under 'text'"),
    ([RECORDS], "not every entry has a text under 'text'"),
    ([*RECORDS, {"text": None}], r"\(the first without is entry 4 of 4\)"),
]


@pytest.mark.parametrize(("value", "message"), UNCLEAR)
def test_unclear_json_is_refused(tmp_path, value, message):
    with pytest.raises(MeltpointError, match=message):
        texts(written(tmp_path / "a.json", value))


@pytest.mark.parametrize("name", ["a.xyz", "a.doc", "a.json.zip", "a.gz", "enwik8", "a.yaml"])
def test_unknown_suffixes_are_refused_or_declared(tmp_path, name):
    with pytest.raises(MeltpointError, match="not known to hold text: say with `format`"):
        format_of(Path(name), None)
    if not name.endswith((".gz", ".zip")):
        assert texts(written(tmp_path / name, LINES), format="json") == TEXTS
        assert texts(tmp_path / name, format="text") == [LINES.decode()]


def test_tokens_are_no_text():
    with pytest.raises(MeltpointError, match="write `tokens:`"):
        format_of(Path("a.npy"), None)


@pytest.mark.parametrize("content", [LINES, json.dumps(RECORDS).encode()])
def test_json_in_a_text_file_is_not_measured_as_text(tmp_path, content):
    path = written(tmp_path / "a.txt", content)
    with pytest.raises(MeltpointError, match="the corpus is JSON: say `format: json`"):
        texts(path)
    assert texts(path, format="json") == TEXTS
    assert texts(path, format="text") == [content.decode()]


@pytest.mark.parametrize("content", ["{\\rtf1 this is}", "[1] A footnote", "{x} [y]"])
def test_braces_alone_are_no_json(tmp_path, content):
    assert texts(written(tmp_path / "a.txt", content.encode())) == [content]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("suffix", ["txt", "json", "jsonl", "csv"])
def test_byte_order_marks_are_no_text(tmp_path, suffix, encoding):
    content = {"txt": "\n".join(TEXTS), "json": json.dumps(RECORDS), "jsonl": LINES.decode(),
               "csv": table(",").decode()}[suffix]  # fmt: skip
    path = written(tmp_path / f"a.{suffix}", (BOM + content).encode(encoding))
    assert "".join(texts(path)) == "".join(["\n".join(TEXTS)] if suffix == "txt" else TEXTS)


def test_marks_of_files_that_were_joined_are_no_text(tmp_path):
    lines = f"{BOM}one\n{BOM}two\n"
    assert texts(written(tmp_path / "a.txt", lines.encode()), lines="strip") == ["one", "two"]
    joined = 2 * (BOM.encode() + LINES)
    assert texts(written(tmp_path / "a.jsonl", joined)) == 2 * TEXTS
    assert texts(written(tmp_path / "a.json", [BOM + text for text in TEXTS])) == TEXTS


def test_text_in_utf_16_without_a_mark_is_refused(tmp_path):
    with pytest.raises(MeltpointError, match="NUL characters: it is no text, or text in UTF-16"):
        texts(written(tmp_path / "a.txt", "Once".encode("utf-16-le")))


def test_line_ends_of_windows_are_newlines(tmp_path):
    assert texts(written(tmp_path / "a.txt", b"one\r\ntwo\rthree\n")) == ["one\ntwo\nthree\n"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text\n\"a", "no valid table, line 2"),
        ("a.csv", b"id,text\n1\n", "no valid table, line 2: 1 columns where the first line names 2"),
        ("a.csv", b"id,body\n1,a\n", r"no column 'text' \(id, body\)"),
        ("a.parquet", b"PAR1", "no readable parquet file"),
        ("a.json.gz", LINES, "cannot be read"),
        ("a.json", gzip.compress(LINES), "cannot be read as UTF-8 text"),
        ("a.jsonl", LINES + b'{"text": "cut', "no valid .jsonl: .* line 4"),
    ],
)  # fmt: skip
def test_broken_files_are_refused(tmp_path, name, content, message):
    with pytest.raises(MeltpointError, match=message):
        texts(written(tmp_path / name, content))


def test_a_job_knows_a_file_by_the_suffixes_that_it_is_read_by():
    names = {"a.b.txt": ".txt", "c4.00000-of-01024.json.gz": ".json.gz", "A.JSON.GZ": ".json.gz"}
    assert {name: suffix_of(Path(name)) for name in names} == names
