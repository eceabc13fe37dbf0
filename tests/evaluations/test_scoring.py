"""llama.cpp's way to score a window: its second half, after the beginning-of-text token."""

import json
import math

import numpy as np
import pytest

from meltpoint import evaluations
from meltpoint.evaluations.perplexity import (
    begin_with_first_token,
    llama_perplexity,
    second_half,
)
from tests.support.measuring import job_spec, measure
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


@pytest.fixture
def tokens(model, tmp_path):
    """Tokens that have a text: each is two bytes long."""
    train_tokenizer(sentences()).save_pretrained(model)
    np.save(tmp_path / "tokens.npy", random_tokens(1, 200).numpy()[0])
    np.save(tmp_path / "ends.npy", 2 * np.arange(1, 201))
    return {"tokens": tmp_path / "tokens.npy", "token_ends": tmp_path / "ends.npy"}


def cell_of(scoring, model, tokens, folder):
    spec = job_spec("perplexity", perplexity="c", window=16, scoring=scoring)
    cell = measure(spec, model, folder / f"{scoring}.json", **tokens)
    return cell, np.load(folder / f"{scoring}.nll.npy")


def test_each_scoring_has_its_perplexity_and_bits_per_byte(model, tokens, tmp_path):
    cell, losses = cell_of("all", model, tokens, tmp_path)
    assert losses.shape == (12, 15)
    assert cell.protocol["engine"] == "transformers"
    assert cell.protocol["windows"] == 12
    assert cell.scores["perplexity"].value == pytest.approx(math.exp(losses.mean()), rel=1e-6)
    bits = losses.sum() / math.log(2) / (12 * 15 * 2)
    assert cell.scores["bits_per_byte"].value == pytest.approx(bits, rel=1e-6)

    cell, losses = cell_of("llama.cpp", model, tokens, tmp_path)
    scored = losses[:, 8:]
    assert cell.scores["perplexity"].value == pytest.approx(math.exp(scored.mean()), rel=1e-6)
    bits = scored.sum() / math.log(2) / (12 * 7 * 2)
    assert cell.scores["bits_per_byte"].value == pytest.approx(bits, rel=1e-6)


def test_scores_say_in_tables_who_scores_so():
    kind = evaluations.find("perplexity")
    settings = {"perplexity": "c", "window": 8}
    plain = kind.scores(kind.settings_class(**settings))["perplexity"]
    llama = kind.scores(kind.settings_class(**settings, scoring="llama.cpp"))["perplexity"]
    assert (plain.label, llama.label) == ("perplexity", "perplexity (llama.cpp)")


def test_a_corpus_of_tokens_has_no_bits_per_byte(model, tokens, tmp_path):
    np.save(tokens["token_ends"], np.empty(0, np.int64))
    cell, _ = cell_of("all", model, tokens, tmp_path)
    score = cell.scores["bits_per_byte"]
    assert (score.status, score.value) == ("refused", None)
    assert "given as tokens" in score.reason
    assert cell.scores["perplexity"].status == "ok"
