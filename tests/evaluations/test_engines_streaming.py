"""A model that is streamed block by block: the numbers of the whole model, and when it is done."""

import gc
import json
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import CohereConfig, GraniteConfig, PhiConfig

from meltpoint import memory
from meltpoint.checkpoints.formats import GGUF
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.engines import _fits, open_engine
from meltpoint.evaluations.engines._model_engine import ModelEngine
from meltpoint.evaluations.engines._streamed import StreamedEngine
from meltpoint.model import empty_model
from tests.support import tiny_models
from tests.support.specs import compress_spec
from tests.support.tiny_models import COMMON, random_tokens, save_model

FAMILIES = {
    **{family: (family, {}) for family in tiny_models.CONFIGS},
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "gemma2, logits capped hard": ("gemma2", {"final_logit_softcapping": 0.5}),
    "phi, biased head": ("phi", {}),
    "cohere, scaled logits": ("cohere", {"logit_scale": 0.25}),
    "granite, scaled embeddings and logits": (
        "granite",
        {"embedding_multiplier": 12.0, "logits_scaling": 8.0, "residual_multiplier": 0.3},
    ),
}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
MORE = {
    "phi": PhiConfig(**COMMON, **SPECIAL),
    "cohere": CohereConfig(**COMMON, **SPECIAL),
    "granite": GraniteConfig(**COMMON, **SPECIAL),
}


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    family, changes = FAMILIES[request.param]
    with pytest.MonkeyPatch.context() as patch:
        for name, config in MORE.items():
            patch.setitem(tiny_models.CONFIGS, name, config)
        return save_model(tmp_path_factory.mktemp("streamed") / "model", family, **changes)


def both(checkpoint, ask, batch="auto"):
    """What the whole model answers, and the streamed one."""
    answers = []
    for stream, kind in ((False, ModelEngine), (True, StreamedEngine)):
        with open_engine(checkpoint, Compute(device="cpu", batch=batch, stream=stream)) as engine:
            assert type(engine) is kind
            assert engine.provenance == {"engine": "transformers"}
            answers.append(ask(engine))
    return answers


@pytest.mark.parametrize("batch", [1, 3, "auto"])
def test_nll_is_that_of_the_whole_model(checkpoint, batch):
    windows = random_tokens(7, 24).numpy()
    whole, streamed = both(checkpoint, lambda engine: engine.nll(windows), batch)
    assert streamed.dtype == np.float32
    np.testing.assert_allclose(streamed, whole, rtol=1e-6, atol=1e-6)


def test_logits_are_those_of_the_whole_model(checkpoint):
    windows = random_tokens(7, 24).numpy()
    whole, streamed = both(checkpoint, lambda engine: list(engine.logits(windows)), 3)
    assert [len(batch) for batch in streamed] == [3, 3, 1]
    torch.testing.assert_close(torch.cat(streamed), torch.cat(whole), rtol=1e-6, atol=1e-6)


def test_loglikelihood_is_that_of_the_whole_model(checkpoint):
    texts = random_tokens(6, 40, seed=1).tolist()
    cuts = [(1, 3), (5, 6), (20, 33), (39, 40), (12, 13), (12, 30)]
    requests = [(text[:a], text[a:b]) for text, (a, b) in zip(texts, cuts, strict=True)]
    whole, streamed = both(checkpoint, lambda engine: engine.loglikelihood(requests))
    assert [greedy for _, greedy in streamed] == [greedy for _, greedy in whole]
    totals = np.array([[total for total, _ in answers] for answers in (whole, streamed)])
    np.testing.assert_allclose(totals[1], totals[0], rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("streamed") / "llama", "llama", num_hidden_layers=5)


def test_rows_of_the_head_may_end_within_a_window(llama, monkeypatch):
    from meltpoint.evaluations.engines import _streamed

    windows = random_tokens(4, 24).numpy()
    with open_engine(llama, Compute(device="cpu", stream=True)) as engine:
        whole = engine.nll(windows)
        monkeypatch.setattr(_streamed, "AUTO_LOGITS", {"cpu": 7 * engine.vocabulary})
        np.testing.assert_allclose(engine.nll(windows), whole, rtol=1e-6, atol=1e-6)


def test_linears_that_quantise_their_inputs_do_so_when_streamed(llama, tmp_path):
    pytest.importorskip("llmcompressor", reason="llmcompressor is not installed")
    np.save(tmp_path / "windows.npy", random_tokens(4, 16).numpy())
    step = "smoothquant@w8a8"
    settings = {"calibration": "given", "windows": {"file": "windows.npy"}}
    spec = compress_spec(step, settings)
    target = tmp_path / "packed"
    compress(llama, target, spec, [tmp_path / "windows.npy"], Compute(device="cpu"))
    assert json.loads((target / "meltpoint.json").read_text())["status"] == "ok"
    windows = random_tokens(3, 24).numpy()
    whole, streamed = both(target, lambda engine: engine.nll(windows))
    np.testing.assert_allclose(streamed, whole, rtol=1e-6, atol=1e-6)
    plain = both(llama, lambda engine: engine.nll(windows))[0]
    assert np.abs(plain - whole).max() > 1e-3


def test_one_block_s_weights_are_held_at_a_time(llama, monkeypatch):
    """Whenever a block is filled no weight of an earlier one is alive, nor are embeddings or head."""
    alive: list[weakref.ref] = []
    held: list[int] = []
    fill = empty_model.fill

    def watch(model, tensors):
        gc.collect()
        held.append(sum(1 for ref in alive if ref() is not None))
        alive.extend(weakref.ref(tensor) for tensor in tensors.values())
        fill(model, tensors)

    monkeypatch.setattr(empty_model, "fill", watch)
    with open_engine(llama, Compute(device="cpu", stream=True)) as engine:
        engine.nll(random_tokens(3, 24).numpy())
    # The embeddings, five blocks, the head.
    assert held == [0] * 7


def test_a_streamed_model_writes_no_text(llama):
    with (
        open_engine(llama, Compute(device="cpu", stream=True)) as engine,
        pytest.raises(MeltpointError, match=r"set compute\.stream to false"),
    ):
        engine.generate([[1, 2]], 3)


@pytest.mark.parametrize(("spare", "streamed"), [(0.81, True), (1.3, False)])
def test_auto_streams_what_does_not_fit(llama, monkeypatch, spare, streamed):
    needed = _fits.weight_bytes(empty_model.build(llama, torch.float32))
    monkeypatch.setattr(memory, "available_bytes", lambda _: spare * needed)
    with open_engine(llama, Compute(device="cpu")) as engine:
        assert isinstance(engine, StreamedEngine) is streamed


def test_weights_are_counted_in_the_study_s_dtype(llama):
    file = llama / "model.safetensors"
    stored = file.stat().st_size - 8 - int.from_bytes(file.read_bytes()[:8], "little")
    for dtype, share in ((torch.float32, 1), (torch.bfloat16, 0.5)):
        assert _fits.weight_bytes(empty_model.build(llama, dtype)) == stored * share


def test_memory_is_what_the_control_groups_leave(tmp_path, monkeypatch):
    for path, limit, used in (("job", "4000000000", 1000000000), ("job/step", "max", 900000000)):
        folder = tmp_path / path
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 100\ninactive_file 200000000\n")
    (tmp_path / "membership").write_text("0::/job/step\n")
    assert memory._left_in_cgroups(tmp_path, tmp_path / "membership") == [3200000000]
    assert memory._left_in_cgroups(tmp_path, tmp_path / "none") == []
    virtual = SimpleNamespace(available=5000000000)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: virtual)
    monkeypatch.setattr(memory, "_left_in_cgroups", lambda: [3200000000])
    assert memory.available_bytes(torch.device("cpu")) == 3200000000


def test_memory_of_a_gpu_is_what_is_free_and_what_torch_keeps(monkeypatch):
    """The card's numbers are made up: 9 bytes free, and 5 of the 12 that torch holds are not in use."""
    for name, value in {
        "mem_get_info": (9, 24),
        "memory_reserved": 12,
        "memory_allocated": 7,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert memory.available_bytes(torch.device("cuda")) == 9 + 5


def test_a_closed_engine_s_weights_are_gone_at_once(llama):
    gc.disable()
    try:
        with open_engine(llama, Compute(device="cpu", stream=False)) as engine:
            weights = weakref.ref(next(engine.model.parameters()))
        assert weights() is None
    finally:
        gc.enable()


def test_a_gguf_file_cannot_be_streamed(tmp_path):
    (tmp_path / GGUF).write_bytes(b"GGUF")
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    with pytest.raises(MeltpointError, match=r"compute\.stream: true .*model\.gguf"):
        open_engine(tmp_path, Compute(device="cpu", stream=True))
