"""A GGUF file in llama.cpp: what it answers, against the model that the file was written from."""

import numpy as np
import pytest
import torch

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("gguf", reason="gguf is not installed")

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations.engines import open_engine
from meltpoint.llamacpp import runtime
from meltpoint.llamacpp.convert import write_gguf
from tests.support.beam_search import beam_search
from tests.support.tiny_models import random_tokens, save_model

COMPUTE = Compute(device="cpu")
LENGTHS = (5, 17, 1, 9, 9, 13)
NEW_TOKENS = 12


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def source(request, tmp_path_factory):
    """Weights that float16 holds, so that the F16 file is the model."""
    folder = tmp_path_factory.mktemp("gguf") / "source"
    return save_model(folder, request.param, initializer_range=0.2)


@pytest.fixture(scope="module")
def folder(source):
    target = source.parent / "gguf"
    target.mkdir()
    write_gguf(source, target / "model.gguf")
    return target


@pytest.fixture
def engine(folder):
    with open_engine(folder, COMPUTE) as opened:
        yield opened


@pytest.fixture(scope="module")
def reference(source):
    with open_engine(source, COMPUTE) as opened:
        yield opened


def prompts():
    tokens = random_tokens(len(LENGTHS), max(LENGTHS), seed=1)
    return [row[:length].tolist() for row, length in zip(tokens, LENGTHS, strict=True)]


def test_it_says_what_it_is(engine):
    assert engine.provenance == {"engine": "llama.cpp"}
    assert engine.vocabulary == 96
    assert engine.context_length == 64


def test_nll_is_that_of_the_runtime(engine, folder):
    windows = random_tokens(4, 24).numpy()
    expected = runtime.token_nll(folder / "model.gguf", windows, COMPUTE)
    np.testing.assert_array_equal(engine.nll(windows), expected)


def test_logits_are_those_that_the_losses_are_of(engine):
    windows = random_tokens(3, 24)
    logits = torch.cat(list(engine.logits(windows.numpy())))
    assert logits.shape == (3, 24, 96)
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), windows[:, 1:], reduction="none"
    )
    np.testing.assert_allclose(losses, engine.nll(windows.numpy()), atol=1e-4)


def test_loglikelihood_is_the_sum_of_the_losses(engine, reference):
    texts = random_tokens(5, 40, seed=2).tolist()
    cuts = [(1, 3), (5, 6), (20, 33), (39, 40), (12, 30)]
    requests = [(text[:a], text[a:b]) for text, (a, b) in zip(texts, cuts, strict=True)]
    requests += [(texts[2][:20], [3]), (texts[2][:8], texts[3][:2])]
    found = engine.loglikelihood(requests)
    for (total, greedy), (context, continuation) in zip(found, requests, strict=True):
        window = np.array([context + continuation])
        losses = engine.nll(window)[0, len(context) - 1 :]
        assert total == pytest.approx(-float(losses.sum()), rel=1e-3, abs=1e-3)
        best = next(engine.logits(window))[0, len(context) - 1 : -1].argmax(-1).tolist()
        assert greedy == (best == continuation)
    in_transformers = reference.loglikelihood(requests)
    assert [t for t, _ in found] == pytest.approx([t for t, _ in in_transformers], rel=0.02)


@pytest.mark.parametrize("batch", [1, 4, "auto"])
def test_generated_text_is_that_of_a_plain_loop(folder, batch):
    with open_engine(folder, Compute(device="cpu", batch=batch)) as engine:
        texts = engine.generate(prompts(), NEW_TOKENS)
        for prompt, text in zip(prompts(), texts, strict=True):
            read = list(prompt)
            for token in text:
                logits = next(engine.logits(np.array([read])))[0, -1]
                assert token == int(logits.argmax())
                read.append(token)
    assert len({token for text in texts for token in text}) > 4


def test_generated_text_is_transformers_own_but_for_near_ties(engine, reference):
    """llama.cpp keeps keys and values in float16: it may choose otherwise between two like tokens."""
    texts = engine.generate(prompts(), NEW_TOKENS), reference.generate(prompts(), NEW_TOKENS)
    for prompt, text, other in zip(prompts(), *texts, strict=True):
        parting = next((i for i in range(NEW_TOKENS) if text[i] != other[i]), None)
        if parting is not None:
            read = np.array([[*prompt, *text[:parting]]])
            logits = next(reference.logits(read))[0, -1]
            assert abs(logits[text[parting]] - logits[other[parting]]) < 0.05
    assert sum(text == other for text, other in zip(*texts, strict=True)) >= 4


def test_texts_that_have_ended_do_not_disturb_the_others(engine):
    texts = engine.generate(prompts(), NEW_TOKENS)
    eos = texts[0][2], texts[3][5]
    for text, short in zip(texts, engine.generate(prompts(), NEW_TOKENS, eos=eos), strict=True):
        ends = [i for i, token in enumerate(text) if token in eos]
        assert short == (text[: ends[0] + 1] if ends else text)


def test_a_search_can_reorder_and_repeat_rows(engine, reference):
    prompt = prompts()[1]
    found = beam_search(engine, prompt, width=3, steps=8)
    assert found == beam_search(reference, prompt, width=3, steps=8)


def test_what_it_cannot_do_is_refused(engine):
    with (
        pytest.raises(NotApplicable, match="gives no hidden states"),
        engine.decoding([[1]], 2, hidden_states=True),
    ):
        pass
    with pytest.raises(MeltpointError, match=r"has 96 tokens, and the texts hold number 96"):
        engine.loglikelihood([([1], [2]), ([96], [3])])
    with pytest.raises(MeltpointError, match="does not fit the model's context of 64"):
        engine.generate([[1] * 60], 10)
