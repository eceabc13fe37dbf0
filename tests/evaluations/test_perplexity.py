"""Perplexity, its error and the paired difference, against simulation and plain formulas."""

import math

import numpy as np
import pytest
import torch

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.engines._model_engine import token_nll
from meltpoint.evaluations.measurement import difference
from meltpoint.evaluations.perplexity import bits_per_byte, byte_lengths, perplexity
from meltpoint.evaluations.windows import cut
from meltpoint.model.load import load
from tests.support.tiny_models import random_tokens, save_model


def test_windows_do_not_overlap_and_the_rest_is_dropped():
    assert cut(np.arange(103), 10).shape == (10, 10)
    assert cut(np.arange(103), 10)[3, 0] == 30
    assert cut(np.arange(103), 10, windows=4).shape == (4, 10)


def test_a_corpus_shorter_than_two_windows():
    with pytest.raises(MeltpointError, match="has 19 tokens: two windows of 10 are needed"):
        cut(np.arange(19), 10)


def test_nll_is_that_of_each_predicted_token(tmp_path):
    model = load(save_model(tmp_path / "m", "llama"), torch.float32, torch.device("cpu"))
    windows = random_tokens(5, 12).numpy()
    nll = token_nll(model, windows, Compute(device="cpu", batch=2))
    assert nll.shape == (5, 11)
    assert nll.dtype == np.float32
    with torch.no_grad():
        log_p = model(torch.from_numpy(windows)).logits.double().log_softmax(-1)
    expected = -log_p[:, :-1].gather(2, torch.from_numpy(windows)[:, 1:, None])[..., 0]
    np.testing.assert_allclose(nll, expected, atol=1e-4)


def draws(count=400, windows=80):
    """Losses of two models on the same windows, many times over; the windows differ a lot."""
    random = np.random.default_rng(0)
    hard = random.normal(3, 0.4, (count, windows, 1))
    dense = hard + random.normal(0, 0.1, (count, windows, 16))
    return dense, hard * 1.05 + 0.1 + random.normal(0, 0.1, (count, windows, 16))


def test_the_standard_error_is_the_spread_over_samples():
    dense, _ = draws()
    estimates = [perplexity(nll) for nll in dense]
    spread = np.std([e.value for e in estimates])
    assert np.mean([e.stderr for e in estimates]) == pytest.approx(spread, rel=0.1)


def test_the_paired_error_is_the_spread_of_the_difference():
    pairs = [
        difference(perplexity(pruned), perplexity(dense))
        for dense, pruned in zip(*draws(), strict=True)
    ]
    spread = np.std([e.value for e in pairs])
    error = np.mean([e.stderr for e in pairs])
    assert error == pytest.approx(spread, rel=0.1)
    apart = [
        np.hypot(perplexity(a).stderr, perplexity(b).stderr) for a, b in zip(*draws(), strict=True)
    ]
    assert error < np.mean(apart) / 3


def test_infinite_and_nan_losses_are_results():
    assert perplexity(np.full((4, 3), np.inf, np.float32)).value == math.inf
    assert math.isnan(perplexity(np.full((4, 3), np.nan, np.float32)).value)
    assert perplexity(np.full((4, 3), 1e4, np.float32)).value == math.inf


def test_the_difference_is_that_of_the_perplexities():
    """As it was computed before scores had units: the mean over windows of ppl m_w - ppl' m'_w."""
    dense, pruned = (nll[0] for nll in draws(count=1))
    found = difference(perplexity(pruned), perplexity(dense))
    means, dense_means = pruned.mean(axis=1), dense.mean(axis=1)
    value, base = math.exp(means.mean()), math.exp(dense_means.mean())
    assert found.value == pytest.approx(value - base, rel=1e-12)
    paired = value * means - base * dense_means
    assert found.stderr == pytest.approx(paired.std(ddof=1) / math.sqrt(len(paired)), rel=1e-12)


# --- bits per byte -----------------------------------------------------------------------------------


def byte_draws(count=300, windows=80):
    """Losses and bytes of windows, many times over; long windows lose more."""
    random = np.random.default_rng(1)
    lengths = random.integers(40, 90, (count, windows)).astype(float)
    nll = random.normal(1.5, 0.1, (count, windows, 16)) * lengths[..., None] / 60
    return nll, lengths


def test_bits_per_byte_is_a_ratio_of_sums():
    nll, lengths = (x[0] for x in byte_draws(count=1))
    bits = sum(float(loss) for window in nll for loss in window) / math.log(2)
    assert bits_per_byte(nll, lengths).value == pytest.approx(bits / sum(lengths), rel=1e-12)


def test_the_error_of_bits_per_byte_is_the_spread_over_samples():
    estimates = [bits_per_byte(*draw) for draw in zip(*byte_draws(), strict=True)]
    spread = np.std([estimate.value for estimate in estimates])
    assert np.mean([estimate.stderr for estimate in estimates]) == pytest.approx(spread, rel=0.1)


def test_the_bytes_are_those_of_the_scored_tokens():
    """The first token of a window is never predicted, llama.cpp scores the last ones alone."""
    text = "a bc def ghij klmno"
    ends = np.array([[1, 4, 8], [13, 14, 19]])
    assert byte_lengths(ends, 2).tolist() == [len(text[1:8]), len(text[13:19])]
    assert byte_lengths(ends, 1).tolist() == [len(text[4:8]), len(text[14:19])]


def test_windows_without_text_are_refused():
    assert bits_per_byte(np.ones((3, 4)), np.zeros(3)).refused
