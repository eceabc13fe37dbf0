"""Windows are drawn as the official loaders draw them: written out here in their own words."""

import random

import numpy as np
import pytest

from meltpoint.data.calibration import (
    draw_from_documents,
    draw_from_stream,
    take_first_documents,
)
from meltpoint.errors import MeltpointError


def test_a_stream_as_the_wikitext_loader():
    tokens = np.arange(1000, dtype=np.int32)
    random.seed(3)
    expected = []
    for _ in range(20):
        i = random.randint(0, len(tokens) - 50 - 1)
        expected.append(tokens[i : i + 50])
    assert np.array_equal(draw_from_stream(tokens, 20, 50, seed=3), expected)


def test_documents_as_the_c4_loader():
    lengths = [10, 80, 51, 50, 300, 7]
    documents = [np.arange(n) + 1000 * i for i, n in enumerate(lengths)]
    random.seed(5)
    expected = []
    for _ in range(20):
        while True:
            i = random.randint(0, len(documents) - 1)
            if len(documents[i]) > 50:
                break
        start = random.randint(0, len(documents[i]) - 50 - 1)
        expected.append(documents[i][start : start + 50])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    drawn = draw_from_documents(np.concatenate(documents), offsets, 20, 50, seed=5)
    assert np.array_equal(drawn, expected)


def test_drawing_leaves_the_global_stream_alone():
    random.seed(0)
    first = random.random()
    random.seed(0)
    draw_from_stream(np.arange(100), 5, 10, seed=9)
    assert random.random() == first


def test_no_document_is_long_enough():
    with pytest.raises(MeltpointError, match=r"more than 50 tokens \(the longest has 50\)"):
        draw_from_documents(np.arange(100), np.array([0, 50, 100]), 4, 50, seed=0)


def test_a_stream_no_longer_than_a_window():
    with pytest.raises(MeltpointError, match="has 50 tokens, a window of 50 needs more"):
        draw_from_stream(np.arange(50), 4, 50, seed=0)


TEXTS = ["short", "x" * 50, "y" * 49, "z" * 80, "w" * 60]
PIECES = [np.arange(n) + 10 * i for i, n in enumerate((2, 3, 9, 7, 5))]
DOCUMENTS = {
    "tokens": np.concatenate(PIECES).astype(np.int32),
    "offsets": np.array([0, 2, 5, 14, 21, 26]),
    "characters": np.array([len(text) for text in TEXTS]),
}


def test_the_first_documents_are_cut_or_padded():
    windows, lengths = take_first_documents(
        **DOCUMENTS, samples=3, length=5, min_characters=50, end=99
    )
    assert windows.tolist() == [[10, 11, 12, 99, 99], [30, 31, 32, 33, 34], [40, 41, 42, 43, 44]]
    assert lengths.tolist() == [3, 5, 5]


def test_too_few_documents_and_no_end_token_to_pad_with():
    with pytest.raises(
        MeltpointError, match=r"3 documents of at least 50 characters, 4 are needed"
    ):
        take_first_documents(**DOCUMENTS, samples=4, length=5, min_characters=50, end=99)
    with pytest.raises(
        MeltpointError, match="has 3 tokens, a window 5, and the tokenizer has no end"
    ):
        take_first_documents(**DOCUMENTS, samples=3, length=5, min_characters=50, end=None)
    windows, _ = take_first_documents(**DOCUMENTS, samples=3, length=3, min_characters=50, end=None)
    assert windows.min() >= 0
