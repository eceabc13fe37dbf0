"""A model in transformers: likelihoods, logits and texts against transformers' own."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.engines import open_engine, registry
from meltpoint.evaluations.engines._model_engine import token_nll
from meltpoint.model.empty_model import attention_of
from meltpoint.model.load import load
from tests.support.beam_search import beam_search
from tests.support.tiny_models import CONFIGS, random_tokens, save_model

LENGTHS = (5, 17, 1, 9, 9, 13)
NEW_TOKENS = 16
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module", params=CONFIGS)
def checkpoint(request, tmp_path_factory):
    """Weights so large that texts are no single token over and over."""
    family = request.param
    std = {"opt": "init_std"}.get(family, "initializer_range")
    return save_model(tmp_path_factory.mktemp("engines") / family, family, **{std: 0.2})


@pytest.fixture(scope="module")
def reference(checkpoint):
    attention = attention_of(checkpoint)
    options = {"dtype": torch.float32, "attn_implementation": attention}
    return AutoModelForCausalLM.from_pretrained(checkpoint, **options).eval()


def engine_of(checkpoint, batch="auto"):
    return open_engine(checkpoint, Compute(device="cpu", batch=batch))


def prompts():
    tokens = random_tokens(len(LENGTHS), max(LENGTHS), seed=1)
    return [row[:length].tolist() for row, length in zip(tokens, LENGTHS, strict=True)]


def requests():
    """Contexts and continuations of many lengths; some begin as others go on."""
    texts = random_tokens(7, 40, seed=2).tolist()
    cuts = [(1, 3), (5, 6), (20, 33), (39, 40), (12, 13), (12, 30), (12, 14)]
    found = [
        (text[:start], text[start:end]) for text, (start, end) in zip(texts, cuts, strict=True)
    ]
    context = texts[2][:20]
    return [*found, (context, [3]), (context, [7]), (context, texts[3][:4]), (texts[2][:8], [1, 2])]


def test_nll_is_transformers_own_loss(checkpoint, reference):
    windows = random_tokens(5, 24)
    with engine_of(checkpoint, batch=2) as engine:
        nll = engine.nll(windows.numpy())
    assert nll.shape == (5, 23)
    assert nll.dtype == np.float32
    with torch.no_grad():
        losses = [float(reference(row[None], labels=row[None]).loss) for row in windows]
    np.testing.assert_allclose(nll.mean(axis=1), losses, rtol=1e-5)


def test_logits_are_those_of_the_model(checkpoint, reference):
    windows = random_tokens(5, 24)
    with engine_of(checkpoint, batch=2) as engine:
        batches = list(engine.logits(windows.numpy()))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(batches), reference(windows).logits, **CLOSE)


@pytest.mark.parametrize("batch", [1, 3, "auto"])
def test_loglikelihood_is_that_of_a_plain_loop(checkpoint, reference, batch):
    with engine_of(checkpoint, batch) as engine:
        found = engine.loglikelihood(requests())
    for (total, greedy), (context, continuation) in zip(found, requests(), strict=True):
        ids = torch.tensor([context + continuation])
        with torch.no_grad():
            rows = reference(ids).logits[0, len(context) - 1 : -1].double().log_softmax(-1)
        expected = sum(float(row[token]) for row, token in zip(rows, continuation, strict=True))
        assert total == pytest.approx(expected, abs=1e-4)
        assert greedy == (rows.argmax(-1).tolist() == continuation)


def test_a_greedy_continuation_is_said_to_be_one(checkpoint):
    with engine_of(checkpoint) as engine:
        (text,) = engine.generate([[3, 4, 5]], 6)
        other = [*text[:5], (text[5] + 1) % engine.vocabulary]
        answers = engine.loglikelihood([([3, 4, 5], text), ([3, 4, 5], other)])
    assert [greedy for _, greedy in answers] == [True, False]


def transformers_text(model, prompt, **settings):
    ids = torch.tensor([prompt])
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0, **settings}
    return model.generate(ids, eos_token_id=settings.pop("eos", None), **settings)[0, len(prompt) :]


@pytest.mark.parametrize("batch", [1, 4, "auto"])
def test_generated_text_is_transformers_own(checkpoint, reference, batch):
    with engine_of(checkpoint, batch) as engine:
        texts = engine.generate(prompts(), NEW_TOKENS)
    assert texts == [transformers_text(reference, prompt).tolist() for prompt in prompts()]
    assert len({token for text in texts for token in text}) > 4


def test_a_text_ends_with_the_end_token(checkpoint):
    with engine_of(checkpoint) as engine:
        texts = engine.generate(prompts(), NEW_TOKENS)
        eos = texts[0][2], texts[1][NEW_TOKENS - 1]
        ended = engine.generate(prompts(), NEW_TOKENS, eos=eos)
    for text, short in zip(texts, ended, strict=True):
        ends = [i for i, token in enumerate(text) if token in eos]
        assert short == (text[: ends[0] + 1] if ends else text)
    assert len(ended[0]) <= 3


def test_a_processor_sees_a_text_without_its_padding(checkpoint, reference):
    with engine_of(checkpoint, batch=4) as engine:
        penalty = RepetitionPenaltyLogitsProcessor(1.5)
        texts = engine.generate(prompts(), NEW_TOKENS, processors=[penalty])
    for text, prompt in zip(texts, prompts(), strict=True):
        own = transformers_text(reference, prompt, repetition_penalty=1.5)
        assert text == own.tolist()


def test_a_search_can_reorder_and_repeat_rows(checkpoint, reference):
    prompt = prompts()[1]
    with engine_of(checkpoint) as engine:
        found = beam_search(engine, prompt, width=3, steps=8)
    own = transformers_text(reference, prompt, num_beams=3, max_new_tokens=8, length_penalty=0.0)
    assert found == own.tolist()


def test_hidden_states_are_those_of_the_last_tokens(checkpoint, reference):
    short, long = prompts()[0], prompts()[1]
    with (
        engine_of(checkpoint) as engine,
        engine.decoding([short, long], 2, hidden_states=True) as d,
    ):
        read = d.hidden_states
        d.append([7, 8])
        d.select([1, 0])
        after = d.hidden_states
    with torch.no_grad():
        whole = reference(torch.tensor([[*short, 7]]), output_hidden_states=True).hidden_states
    assert len(read) == len(after) == len(whole)
    for prompt_states, state, expected in zip(read, after, whole, strict=True):
        assert prompt_states.shape[1] == len(long)
        torch.testing.assert_close(prompt_states[0, -len(short) :], expected[0, :-1], **CLOSE)
        torch.testing.assert_close(state[1], expected[0, -1:], **CLOSE)


def test_each_engine_declares_what_the_registry_needs():
    for name, file in registry().items():
        for attribute in ("label", "opens", "kernels", "env", "streams", "sources", "open"):
            assert hasattr(file, attribute), f"{name} declares {attribute}"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("engines") / "llama", "llama")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda e: e.loglikelihood([([1], [2]), ([], [3])]), "request 1 has no context"),
        (lambda e: e.loglikelihood([([1], [])]), "request 0 has no continuation"),
        (lambda e: e.loglikelihood([([1] * 60, [2] * 6)]), "text of 65 tokens .* context of 64"),
        (lambda e: e.generate([[1], []], 3), "prompt 1 is empty"),
        (lambda e: e.generate([[1] * 60], 6), "text of 65 tokens .* context of 64"),
    ],
)
def test_what_cannot_be_answered_is_refused(llama, ask, message):
    with engine_of(llama) as engine, pytest.raises(MeltpointError, match=message):
        ask(engine)


def test_requests_and_texts_may_fill_the_context(llama):
    with engine_of(llama) as engine:
        ((total, _),) = engine.loglikelihood([([1] * 60, [2] * 5)])
        (text,) = engine.generate([[1] * 60], 5)
    assert math.isfinite(total)
    assert len(text) == 5


def test_nothing_is_asked(llama):
    with engine_of(llama) as engine:
        assert engine.loglikelihood([]) == []
        assert engine.generate([], 5) == []


def test_what_begins_as_another_goes_on_is_read_once(llama):
    with engine_of(llama) as engine:
        seen = []
        engine.model.register_forward_pre_hook(
            lambda _, args, inputs: seen.append(inputs["input_ids"].shape), with_kwargs=True
        )
        context = list(range(1, 9))
        engine.loglikelihood([(context, [choice]) for choice in range(4)] + [(context, [9, 10])])
    assert seen == [(1, 9)]


@pytest.mark.parametrize("batch", [1, 5])
def test_token_nll_does_not_depend_on_the_batch(llama, batch):
    model = load(llama, torch.float32, torch.device("cpu"))
    windows = random_tokens(7, 12).numpy()
    nll = token_nll(model, windows, Compute(device="cpu", batch=batch))
    np.testing.assert_allclose(nll, token_nll(model, windows, Compute(device="cpu")), atol=1e-5)
