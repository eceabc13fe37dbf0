"""GGUF files as llama.cpp runs them: likelihoods and tokens as in transformers, broken files, speed."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GemmaConfig

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("gguf", reason="gguf is not installed")

from meltpoint.compute import Compute
from meltpoint.data.tokenization import tokenizer_of
from meltpoint.demo import tokenizer as demo
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations.engines._model_engine import token_nll
from meltpoint.llamacpp import library, runtime, session
from meltpoint.llamacpp.convert import write_gguf
from meltpoint.llamacpp.file import read, value
from meltpoint.llamacpp.library import llama_cpp
from meltpoint.llamacpp.session import tokenize
from meltpoint.llamacpp.tokenizer import SENTENCES
from meltpoint.model.load import load
from tests.support import tiny_models
from tests.support.llama_cases import HEAD, LINEAR, LLAMA_CASES, llama3_rope
from tests.support.tiny_models import random_tokens, save_model
from tests.support.tiny_study import sentences, train_tokenizer, write_model

COMPUTE = Compute(device="cpu")
MODELS = Path(__file__).parents[3] / "shared/data/models"
STORIES = Path(__file__).parents[3] / "shared/data/corpora/tinystories/tinystories_1000.json"
GEMMA3_ROPE = {
    "full_attention": {**LINEAR, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
CASES = {
    **LLAMA_CASES,
    "llama 3.1": ("llama", {"rope_parameters": llama3_rope(16)}),
    "mistral": ("mistral", {"sliding_window": 48}),
    "gemma": ("gemma", {}),
    "gemma2": ("gemma2", HEAD),
    "gemma3": ("gemma3", HEAD),
    "gemma3, linear": ("gemma3", {**HEAD, "rope_parameters": GEMMA3_ROPE}),
    "gemma3, own layers": ("gemma3", {**HEAD, "layer_types": ["full_attention", "sliding_attention"],
                                      "num_hidden_layers": 2}),
}  # fmt: skip


def difference(source, file, windows):
    """llama.cpp's perplexity less transformers', relative; and the largest difference of a token."""
    ours = runtime.token_nll(file, windows, COMPUTE)
    model = load(source, torch.float32, torch.device("cpu"))
    theirs = token_nll(model, windows, COMPUTE)
    assert ours.shape == theirs.shape == (len(windows), windows.shape[1] - 1)
    assert ours.dtype == np.float32
    return abs(np.exp(ours.mean() - theirs.mean()) - 1), np.abs(ours - theirs).max()


def write(source):
    file = source / "model.gguf"
    write_gguf(source, file)
    return file


@pytest.mark.parametrize("case", CASES)
def test_perplexity_is_that_of_transformers(case, tmp_path, monkeypatch):
    """Windows of 48 slide over Gemma's 8; weights are large enough for attention to matter."""
    monkeypatch.setitem(
        tiny_models.CONFIGS, "gemma", GemmaConfig(**tiny_models.COMMON, head_dim=16)
    )
    family, changes = CASES[case]
    source = save_model(tmp_path, family, initializer_range=0.2, **changes)
    relative, largest = difference(source, write(source), random_tokens(4, 48).numpy())
    assert relative < 1e-3
    assert largest < 0.05


@pytest.mark.skipif(not MODELS.exists(), reason="the real models are not here")
@pytest.mark.parametrize(
    ("name", "text"),
    [("stories260K", True), ("babyllama-0.97M-tok361", True), ("tinystories-656K", False)],
)
def test_real_models(name, text, tmp_path):
    """On English stories: perplexity and, where every byte has a token, tokens."""
    source, file = MODELS / name, tmp_path / "model.gguf"
    write_gguf(source, file)
    story = "\n\n".join(json.loads(STORIES.read_text())[:20])
    tokenizer = tokenizer_of(source)
    ids = np.array(tokenizer(story, add_special_tokens=False).input_ids)
    relative, _ = difference(source, file, ids[: 8 * 128].reshape(8, 128))
    assert relative < 1e-3
    assert (value(read(file), "tokenizer.ggml.model") == "llama") is text
    if text:
        assert tokenize(file, [story]) == [ids.tolist()]
        assert value(read(file), "tokenizer.ggml.add_bos_token") is True
        assert value(read(file), "tokenizer.ggml.bos_token_id") == tokenizer.bos_token_id


def sources():
    return [file.read_text() for file in sorted(Path(__file__).parents[2].glob("meltpoint/*.py"))]


@pytest.mark.parametrize(
    ("kind", "size", "pre"),
    [
        ("tiny", 128, "gpt-2"),
        ("gpt2", 600, "gpt-2"),
        ("demo", 600, "smaug-bpe"),
        ("demo", 640, "smaug-bpe"),
    ],
)
def test_byte_level_tokenizers(kind, size, pre, tmp_path):
    """Also of a model with more embeddings than its tokenizer has tokens."""
    texts = [*SENTENCES, *sources()[:20]]
    if kind == "tiny":
        texts, tokenizer = sentences(), train_tokenizer(sentences())
    elif kind == "gpt2":
        tokenizer = train_tokenizer(texts, 600)
    else:
        tokenizer = demo.train(texts, 600, 256)
    write_model(tmp_path, vocab_size=size)
    tokenizer.save_pretrained(tmp_path)
    file = write(tmp_path)
    assert value(read(file), "tokenizer.ggml.pre") == pre
    expected = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    assert tokenize(file, texts) == expected
    assert runtime.token_nll(file, random_tokens(2, 16).numpy(), COMPUTE).shape == (2, 15)


def test_added_tokens_beyond_the_model_are_left_out(tmp_path):
    """Gemma 3's smaller models have a token of images that they have no embedding of."""
    texts = [*SENTENCES, *sources()[:20]]
    tokenizer = train_tokenizer(texts, 600)
    write_model(tmp_path, vocab_size=600)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"], "pad_token": "<pad>"})
    tokenizer.save_pretrained(tmp_path)
    assert len(tokenizer) == 602
    file = write(tmp_path)
    assert value(read(file), "tokenizer.ggml.pre") == "gpt-2"
    assert len(value(read(file), "tokenizer.ggml.tokens")) == 600
    assert value(read(file), "tokenizer.ggml.padding_token_id") is None
    expected = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    assert tokenize(file, texts) == expected


def test_a_trial_of_too_few_texts_is_none(tmp_path, monkeypatch):
    from meltpoint.llamacpp import convert, tokenizer

    write_model(tmp_path)
    train_tokenizer(sentences()).save_pretrained(tmp_path)
    probes = tokenizer.vocabulary_of(tmp_path, 128).probes
    assert len(probes) >= convert.FEWEST_PROBES
    for kept, model in ((convert.FEWEST_PROBES, "gpt2"), (1, "no_vocab"), (0, "no_vocab")):
        few = dict(list(probes.items())[:kept])
        monkeypatch.setattr(tokenizer, "_probes", lambda *_, few=few: few)
        assert value(read(write(tmp_path)), "tokenizer.ggml.model") == model


@pytest.mark.parametrize("kind", ["none", "too large", "another split"])
def test_a_tokenizer_that_llama_cpp_cannot_have_leaves_token_numbers(kind, tmp_path):
    write_model(tmp_path, vocab_size=96 if kind == "too large" else 300)
    tokenizer = train_tokenizer(sentences())
    if kind == "another split":
        tokenizer = train_tokenizer(sources()[:5], 300)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer_of_words()
    if kind != "none":
        tokenizer.save_pretrained(tmp_path)
    file = write(tmp_path)
    assert value(read(file), "tokenizer.ggml.model") == "no_vocab"
    assert difference(tmp_path, file, random_tokens(2, 16).numpy())[0] < 1e-3
    assert [f.name for f in tmp_path.glob("*.gguf")] == ["model.gguf"]


def pre_tokenizer_of_words():
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(r"\w+|\W"), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, byte_level])


def test_a_vocabulary_that_splits_otherwise_is_left_out(tmp_path, monkeypatch):
    """The trial is what decides: a wrong name for the split is found out."""
    from meltpoint.llamacpp import tokenizer as vocabularies

    texts = [*SENTENCES, *sources()[:20]]
    write_model(tmp_path, vocab_size=600)
    demo.train(texts, 600, 256).save_pretrained(tmp_path)
    monkeypatch.setattr(vocabularies, "_pre_tokenizer", lambda spec: "gpt-2")
    assert value(read(write(tmp_path)), "tokenizer.ggml.model") == "no_vocab"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(save_model(tmp_path_factory.mktemp("llama"), "llama"))


@pytest.mark.parametrize("broken", ["empty", "noise", "cut", "header", "counts", "missing"])
def test_a_broken_file_is_one_sentence(file, broken, tmp_path):
    whole = file.read_bytes()
    contents = {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(5000),
        "cut": whole[: len(whole) // 2],
        "header": whole[:300],
        "counts": whole[:8] + b"\xff" * 16 + whole[24:],
    }
    place = tmp_path / "model.gguf"
    if broken in contents:
        place.write_bytes(contents[broken])
    with pytest.raises(MeltpointError, match="is missing, truncated or no GGUF file") as caught:
        runtime.token_nll(place, random_tokens(2, 16).numpy(), COMPUTE)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tokens_that_the_model_does_not_have(file):
    with pytest.raises(MeltpointError, match="has 96 tokens, and the texts hold number 96"):
        runtime.token_nll(file, np.full((2, 8), 96), COMPUTE)


def test_windows_that_would_slide_in_transformers_alone(tmp_path):
    file = write(save_model(tmp_path, "mistral", sliding_window=8))
    assert runtime.token_nll(file, random_tokens(2, 8).numpy(), COMPUTE).shape == (2, 7)
    with pytest.raises(NotApplicable, match=r"see all 9 tokens of a window.* see 8 at a time"):
        runtime.token_nll(file, random_tokens(2, 9).numpy(), COMPUTE)


def test_windows_and_batches_do_not_mix(file, monkeypatch):
    windows = random_tokens(3, 40).numpy()
    whole = runtime.token_nll(file, windows, COMPUTE)
    np.testing.assert_array_equal(runtime.token_nll(file, windows[2:], COMPUTE), whole[2:])
    monkeypatch.setattr(runtime, "LOGITS", 7 * 96)
    parts = runtime.token_nll(file, windows, COMPUTE)
    np.testing.assert_allclose(parts, whole, atol=2e-3)


def test_speed(file):
    found = runtime.speed(file, 16, 4, 3, COMPUTE)
    assert found.load > 0
    assert len(found.prompt) == len(found.generate) == 3
    assert min(found.prompt + found.generate) > 0


def test_what_comes_before_llama_cpp_loads_is_not_timed_as_its_load(file, monkeypatch):
    """The library's start and the look at the file's header, an hour each."""
    clock, slow = [time.perf_counter()], []

    def slowly(function):
        def called(*args):
            clock[0] += 3600
            slow.append(function.__name__)
            return function(*args)

        return called

    monkeypatch.setattr(session.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(runtime, "_seconds", lambda *_: 1.0)
    for name in ("read", "llama_cpp"):
        monkeypatch.setattr(session, name, slowly(getattr(session, name)))
    assert runtime.speed(file, 16, 4, 3, COMPUTE).load == 0
    assert {"read", "llama_cpp"} <= set(slow)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_device_is_where_layers_are(file, device):
    """A study's device says what is wished: llama.cpp has its own, or none."""
    if llama_cpp().llama_supports_gpu_offload():
        pytest.skip("llama.cpp was built for an accelerator")
    found = runtime.speed(file, 16, 4, 1, Compute(device=device))
    assert (found.device, found.memory) == ("cpu", None)


@pytest.mark.parametrize(
    ("lines", "layers"),
    [
        ([], 0),
        (["load_tensors: offloaded 0/25 layers to GPU\n"], 0),
        (["load_tensors: offloading 24 repeating layers to GPU\n",
          "load_tensors: offloaded 25/25 layers to GPU\n"], 25),
    ],
)  # fmt: skip
def test_llama_cpp_says_what_it_has_offloaded(lines, layers):
    note = library._callback(llama_cpp())
    for line in lines:
        note(2, line.encode(), None)
    assert library.offloaded() == layers
    assert library.offloaded() == 0
