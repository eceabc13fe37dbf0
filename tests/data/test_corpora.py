"""Corpora of each kind, and what is wrong with one in a sentence."""

import json

import numpy as np
import pytest

from meltpoint.data.corpora import byte_positions, documents, read_tokens, separate, stream
from meltpoint.errors import MeltpointError
from meltpoint.study.sections import LocalCorpus
from tests.support.tiny_study import sentences, train_tokenizer


def local(path, **keys):
    return LocalCorpus(path=path, **keys).model_dump(mode="json", exclude={"path"})


def read(path, **keys):
    return documents(local(path, **keys), path)


TEXT = " = Title = \n\n first line \nsecond\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (None, [TEXT]),
        ("strip", ["= Title =", "first line", "second"]),
        ("keep", [" = Title = \n", "", " first line \n", "second\n"]),
    ],
)
def test_text(tmp_path, lines, expected):
    (tmp_path / "a.txt").write_text(TEXT)
    assert read(tmp_path / "a.txt", lines=lines) == expected


def test_json_and_jsonl(tmp_path):
    rows = [{"body": "one"}, {"body": "two"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "b.json").write_text(json.dumps(["one", "two"]))
    assert read(tmp_path / "a.json", field="body") == ["one", "two"]
    assert read(tmp_path / "a.jsonl", field="body") == ["one", "two"]
    assert read(tmp_path / "b.json") == ["one", "two"]


def test_a_slice_of_the_documents(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(["a", "b", "c"]))
    assert read(tmp_path / "a.json", documents=":2") == ["a", "b"]
    assert read(tmp_path / "a.json", documents="2:") == ["c"]
    with pytest.raises(MeltpointError, match="empty"):
        read(tmp_path / "a.json", documents="3:")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n\n", "the corpus is empty"),
        ("a.txt", b"caf\xe9", "cannot be read as UTF-8"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read as UTF-16-LE"),
        ("a.json", b"[1,", "no valid .json"),
        (
            "a.jsonl",
            b'{"body": "x"}',
            "not every entry has a text under 'text': set the corpus's `field`",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MeltpointError, match=message):
        read(tmp_path / name)


def fake_tokenizer(text, verbose=False, return_offsets_mapping=False):
    """Stands in for a tokenizer: a begin token, then a token for each letter."""
    if isinstance(text, list):
        return {"input_ids": [fake_tokenizer(t)["input_ids"] for t in text]}
    places = [(0, 0), *((n, n + 1) for n in range(len(text)))]
    return {"input_ids": [1, *map(ord, text)], "offset_mapping": places}


fake_tokenizer.is_fast = True


def test_a_stream_is_tokenised_in_one_call():
    tokens, ends = stream(["ab", "ç"], " ", fake_tokenizer)
    assert tokens.tolist() == [1, *map(ord, "ab ç")]
    assert ends.tolist() == [0, 1, 2, 3, 5]


def test_bytes_are_counted_as_utf_8_has_them():
    text = "aé€𝄞b"
    expected = [len(text[:n].encode()) for n in range(len(text) + 1)]
    assert byte_positions(text).tolist() == expected


def test_ends_telescope_to_the_bytes_of_the_text():
    """Also where a token is part of a character, and where offsets leave white space out."""
    text = "abc déf €  ghi\n\njkl 𝄞 end"
    tokenizer = train_tokenizer([*sentences(), text])
    tokens, ends = stream([text], "", tokenizer)
    assert len(tokens) == len(ends)
    assert (np.diff(ends) >= 0).all()
    assert ends[-1] == len(text.encode())


def test_a_tokenizer_without_places_gives_no_ends():
    def slow(text, verbose=False, return_offsets_mapping=False):
        assert not return_offsets_mapping
        return {"input_ids": [1, 2]}

    slow.is_fast = False
    tokens, ends = stream(["ab"], "", slow)
    assert (len(tokens), len(ends)) == (2, 0)


def test_documents_are_tokenised_one_by_one():
    tokens, offsets = separate(["ab", "c", ""], fake_tokenizer, batch=2)
    assert tokens.tolist() == [1, 97, 98, 1, 99, 1]
    assert offsets.tolist() == [0, 3, 5, 6]


def test_tokens_are_integers_of_the_right_shape(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12).reshape(3, 4))
    assert read_tokens(tmp_path / "a.npy", 2).shape == (3, 4)
    assert read_tokens(tmp_path / "a.npy", 1).tolist() == list(range(12))
    np.save(tmp_path / "b.npy", np.ones(3))
    with pytest.raises(MeltpointError, match="1-dimensional integers are needed, not float64"):
        read_tokens(tmp_path / "b.npy", 1)
    np.save(tmp_path / "c.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(MeltpointError, match=r"no readable \.npy"):
        read_tokens(tmp_path / "c.npy", 1)
    np.save(tmp_path / "d.npy", np.array([2**32 + 1]))
    with pytest.raises(MeltpointError, match="token 4294967297 is larger than any vocabulary"):
        read_tokens(tmp_path / "d.npy", 1)
