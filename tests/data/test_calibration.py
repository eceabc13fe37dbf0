"""Windows are drawn as the official loaders draw them: written out here in their own words."""

import random

import numpy as np
import pytest

from meltpoint.data.calibration import draw_from_documents, draw_from_stream
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
