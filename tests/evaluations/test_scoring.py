"""llama.cpp's way to score a window: its second half, after the beginning-of-text token."""

import json
import math

import numpy as np
import pytest

from meltpoint.compute import Compute
from meltpoint.evaluations.perplexity import (
    SCORINGS,
    begin_with_first_token,
    llama_perplexity,
    measure,
    second_half,
)
from tests.support.specs import evaluate_spec
from tests.support.tiny_models import random_tokens, save_model
from tests.support.tiny_study import VOCABULARY, sentences, train_tokenizer


def test_a_window_of_eight_predicts_its_last_three():
    """llama-perplexity: logits from n_ctx / 2 on, each for the token after it."""
    nll = np.arange(14.0).reshape(2, 7)
    assert second_half(nll).tolist() == [[4, 5, 6], [11, 12, 13]]
    assert second_half(np.zeros((3, 511))).shape == (3, 255)


def test_its_error_is_over_tokens():
    nll = np.array([[1.0, 2.0], [3.0, 6.0]])
    found = llama_perplexity(nll)
    assert found.value == pytest.approx(math.exp(3))
    # sqrt((mean of squares - square of the mean) / (count - 1)), times the perplexity.
    assert found.stderr == pytest.approx(math.exp(3) * math.sqrt((50 / 4 - 9) / 3))


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model", "llama", vocab_size=VOCABULARY)


def test_windows_begin_as_the_tokenizer_begins_a_text(model):
    windows = np.arange(12, dtype=np.int32).reshape(2, 6)
    tokenizer = train_tokenizer(sentences())
    tokenizer.save_pretrained(model)
    assert begin_with_first_token(windows, model) is windows
    tokenizer.add_bos_token = True
    tokenizer.save_pretrained(model)
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": "<s>"}))
    begun = begin_with_first_token(windows, model)
    assert begun[:, 0].tolist() == [tokenizer.bos_token_id] * 2
    assert (begun[:, 1:] == windows[:, 1:]).all()


def test_without_a_tokenizer_windows_stay_as_they_are(model):
    windows = np.arange(12, dtype=np.int32).reshape(2, 6)
    assert begin_with_first_token(windows, model) is windows


def test_a_cell_of_it_has_a_metric_of_its_own(model, tmp_path):
    train_tokenizer(sentences()).save_pretrained(model)
    np.save(tmp_path / "tokens.npy", random_tokens(1, 200).numpy()[0])
    found = {}
    for scoring in SCORINGS:
        protocol = {"perplexity": "c", "window": 16, "windows": None, "scoring": scoring}
        spec = evaluate_spec("e", protocol)
        files = tmp_path / f"{scoring}.json", tmp_path / f"{scoring}.npy"
        measure(model, tmp_path / "tokens.npy", None, *files, spec, Compute(device="cpu"))
        found[scoring] = json.loads(files[0].read_text())
        assert np.load(files[1]).shape == (12, 15)
    assert found["all"]["metric"] == "perplexity"
    assert found["llama.cpp"]["metric"] == "perplexity (llama.cpp)"
    losses = np.load(tmp_path / "llama.cpp.npy")
    assert found["llama.cpp"]["value"] == pytest.approx(math.exp(losses[:, 8:].mean()), rel=1e-6)
    assert found["all"]["protocol"]["engine"] == "transformers"
