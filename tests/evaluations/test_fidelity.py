"""Fidelity to the dense model, against plain float64, in every engine; errors against simulation."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CohereConfig, GraniteConfig, OPTConfig

from meltpoint.checkpoints.formats import GGUF
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations._fidelity import estimate, quantile, root_mean
from meltpoint.evaluations.cells import Cell
from meltpoint.evaluations.engines import open_engine
from meltpoint.model.base_models import link
from meltpoint.model.head import Head
from meltpoint.model.load import load
from tests.support import tiny_models
from tests.support.measuring import COMPUTE, job_spec, measure
from tests.support.structured_golden import MODEL as STORIES
from tests.support.tiny_models import COMMON, random_tokens, save_model

NAMES = ("kl", "kl_p99", "kl_p999", "kl_reverse", "top1_agreement", "probability_rms")
WINDOW = 32


def spec(**settings):
    return job_spec("perplexity", perplexity="c", **{"window": WINDOW, **settings})


def files_of(folder: Path, vocabulary: int, count: int = 20) -> dict[str, Path]:
    """Random tokens, without a text."""
    tokens = np.random.default_rng(0).integers(3, vocabulary, count * WINDOW)
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "ends.npy", np.empty(0, np.int64))
    return {"tokens": folder / "tokens.npy", "token_ends": folder / "ends.npy"}


def noisy(source: Path, target: Path, noise: float = 0.05) -> Path:
    """The checkpoint with noise on all weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    torch.manual_seed(0)
    weights = load_file(target / "model.safetensors")
    changed = {k: w + noise * w.float().std() * torch.randn_like(w) for k, w in weights.items()}
    save_file(changed, target / "model.safetensors", metadata={"format": "pt"})
    return target


class Trial:
    """A dense model and a chain's, measured in a folder."""

    def __init__(self, folder: Path, dense: Path, vocabulary: int) -> None:
        self.folder, self.dense = folder, dense
        self.files = {**files_of(folder, vocabulary), "dense_checkpoint": dense}

    def measure_dense(self, compute: Compute = COMPUTE, **settings) -> Cell:
        target = self.folder / "dense.json"
        return measure(spec(**settings), self.dense, target, compute=compute, **self.files)

    def measure(self, checkpoint: Path, compute: Compute = COMPUTE, **settings) -> Cell:
        dense, target = self.folder / "dense.json", self.folder / "chain.json"
        return measure(spec(**settings), checkpoint, target, dense, compute, **self.files)

    @property
    def hidden(self) -> Path:
        return self.folder / "dense.hidden.npy"

    def logits(self, checkpoint: Path) -> torch.Tensor:
        """Logits of the predicted tokens in float64, [windows x (window - 1), vocabulary]."""
        model = load(checkpoint, torch.float64, torch.device("cpu"))
        with torch.no_grad():
            return model(self.windows).logits[:, :-1].flatten(end_dim=1)

    @property
    def windows(self) -> torch.Tensor:
        return torch.from_numpy(np.load(self.files["tokens"])).view(-1, WINDOW)


@pytest.fixture
def stories(tmp_path):
    base = tmp_path / "base"
    link(STORIES, base, "models.stories260K")
    trial = Trial(tmp_path, base, 512)
    trial.chain = noisy(base, tmp_path / "chain")
    return trial


def values(cell: Cell) -> dict[str, float]:
    return {name: cell.scores[name].value for name in NAMES}


def plainly(dense: torch.Tensor, chain: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """The scores from float64 logits [tokens, vocabulary]."""
    p, q = dense.softmax(-1), chain.softmax(-1)
    kl = (p * (p.log() - q.log())).sum(-1)
    change = (q - p).gather(1, targets[:, None])
    return {
        "kl": kl.mean().item(),
        "kl_p99": kl.quantile(0.99).item(),
        "kl_p999": kl.quantile(0.999).item(),
        "kl_reverse": (q * (q.log() - p.log())).sum(-1).mean().item(),
        "top1_agreement": (p.argmax(-1) == q.argmax(-1)).double().mean().item(),
        "probability_rms": change.square().mean().sqrt().item(),
    }


def test_scores_are_those_of_plain_float64(stories):
    dense = stories.measure_dense()
    assert values(dense) == {**dict.fromkeys(NAMES, 0.0), "top1_agreement": 1.0}
    cell = stories.measure(stories.chain)
    targets = stories.windows[:, 1:].flatten()
    expected = plainly(stories.logits(stories.dense), stories.logits(stories.chain), targets)
    assert expected["kl"] > 0.01
    assert 0.3 < expected["top1_agreement"] < 1
    assert values(cell) == pytest.approx(expected, abs=1e-5)
    for name in NAMES:
        score = cell.scores[name]
        assert 0 < score.stderr < 1
        assert score.difference.stderr == pytest.approx(score.stderr)


@pytest.mark.parametrize("batch", [1, 7])
def test_a_model_is_no_distance_from_itself(stories, batch):
    stories.measure_dense()
    cell = stories.measure(stories.dense, Compute(device="cpu", batch=batch))
    found = values(cell)
    assert found.pop("top1_agreement") == 1
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-7)


def test_perplexity_is_the_same_with_and_without(stories):
    stories.measure_dense()
    cell = stories.measure(stories.chain)
    nll = np.load(stories.folder / "chain.nll.npy")
    stories.hidden.unlink()
    stories.measure_dense(fidelity=False)
    assert not stories.hidden.exists()
    plain = stories.measure(stories.chain, fidelity=False)
    assert set(plain.scores) == {"perplexity", "bits_per_byte"}
    assert (np.load(stories.folder / "chain.nll.npy") == nll).all()
    assert plain.scores["perplexity"].value == cell.scores["perplexity"].value


def test_a_streamed_model_has_the_same_scores(stories):
    stories.measure_dense()
    whole, hidden = stories.measure(stories.chain), np.load(stories.hidden)
    streamed = Compute(device="cpu", stream=True)
    stories.measure_dense(streamed)
    np.testing.assert_allclose(np.load(stories.hidden), hidden, rtol=1e-5, atol=1e-5)
    assert values(stories.measure(stories.chain, streamed)) == pytest.approx(
        values(whole), abs=1e-6
    )


def test_only_scored_tokens_are_compared(stories):
    """llama.cpp scores the second half; the hidden states are those of its windows."""
    stories.measure_dense(scoring="llama.cpp")
    stories.measure(stories.chain, scoring="llama.cpp")
    half = np.load(stories.folder / "chain.kl.npy")
    assert half.shape == (20, 15)
    stories.measure_dense()
    stories.measure(stories.chain)
    whole = np.load(stories.folder / "chain.kl.npy")
    assert whole.shape == (20, 31)


def test_a_deleted_file_is_made_again_by_what_needs_it(stories):
    stories.measure_dense()
    before, hidden = values(stories.measure(stories.chain)), stories.hidden.read_bytes()
    stories.hidden.unlink()
    assert values(stories.measure(stories.chain)) == before
    assert stories.hidden.read_bytes() == hidden


def test_a_file_of_other_windows_is_refused(stories):
    stories.measure_dense()
    np.save(stories.hidden, np.zeros((3, 64), np.float32))
    with pytest.raises(MeltpointError, match=r"dense\.hidden\.npy does not hold .* 620 tokens"):
        stories.measure(stories.chain)
    stories.hidden.write_bytes(b"")
    with pytest.raises(MeltpointError, match="delete it and run again"):
        stories.measure(stories.chain)


def test_another_vocabulary_cannot_be_compared(stories, tmp_path):
    stories.measure_dense()
    other = save_model(tmp_path / "other", "llama", vocab_size=600)
    cell = stories.measure(other)
    assert cell.scores["perplexity"].status == "ok"
    for name in NAMES:
        assert cell.scores[name].status == "refused"
        assert "other tokens" in cell.scores[name].reason


def test_without_a_dense_cell_that_applies_there_is_no_fidelity(stories):
    facts = stories.measure_dense().model_dump(exclude={"status", "reason", "scores", "cost"})
    Cell.not_applicable("windows too long", **facts).write(stories.folder / "dense.json")
    cell = stories.measure(stories.chain)
    assert {cell.scores[name].status for name in NAMES} == {"refused"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_hidden_states_are_kept_in_the_study_s_dtype(stories, dtype):
    compute = Compute(device="cpu", dtype=dtype)
    stories.measure_dense(compute)
    hidden = np.load(stories.hidden)
    assert (hidden.shape, hidden.dtype.itemsize) == ((620, 64), 2)
    own = values(stories.measure(stories.dense, compute))
    assert own["top1_agreement"] == 1
    assert abs(own["kl"]) < 1e-7
    exact = values(stories.measure(stories.chain, compute))
    assert exact["kl"] == pytest.approx(values(stories.measure(stories.chain, compute))["kl"])
    targets = stories.windows[:, 1:].flatten()
    plain = plainly(stories.logits(stories.dense), stories.logits(stories.chain), targets)
    assert exact["kl"] == pytest.approx(plain["kl"], rel=0.05)


# --- heads ---------------------------------------------------------------------------------------

SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
FAMILIES = {
    **{family: (family, {}) for family in tiny_models.CONFIGS},
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "gemma2, logits capped hard": ("gemma2", {"final_logit_softcapping": 0.5}),
    "opt, projected out": ("opt", {"word_embed_proj_dim": 16}),
    "cohere, scaled logits": ("cohere", {"logit_scale": 0.25}),
    "granite, scaled logits": ("granite", {"logits_scaling": 8.0}),
}
MORE = {"cohere": CohereConfig(**COMMON, **SPECIAL), "granite": GraniteConfig(**COMMON, **SPECIAL)}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_head_gives_the_model_s_logits(name, stream, tmp_path, monkeypatch):
    for each, config in MORE.items():
        monkeypatch.setitem(tiny_models.CONFIGS, each, config)
    family, changes = FAMILIES[name]
    folder = save_model(tmp_path / "model", family, **changes)
    windows, compute = random_tokens(5, 12).numpy(), Compute(device="cpu", stream=stream)
    with open_engine(folder, compute) as engine:
        hidden = torch.cat(list(engine.head_inputs(windows)))
        logits = torch.cat(list(engine.logits(windows)))[:, :-1].flatten(end_dim=1)
    head = Head(folder, compute)
    assert head.vocabulary == logits.shape[-1]
    torch.testing.assert_close(head(hidden), logits, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head(hidden[3:5]), logits[3:5], rtol=1e-5, atol=1e-6)


def test_opt_s_projection_is_behind_what_is_kept(tmp_path):
    assert isinstance(tiny_models.CONFIGS["opt"], OPTConfig)
    folder = save_model(tmp_path / "model", "opt", word_embed_proj_dim=16)
    with open_engine(folder, COMPUTE) as engine:
        (part,) = engine.head_inputs(random_tokens(2, 8).numpy())
    assert part.shape == (14, 16)


def test_a_gguf_file_is_compared_by_llama_cpp_s_logits(stories, tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from meltpoint.compression.step import compress
    from tests.support.specs import compress_spec

    stories.measure_dense()
    target = tmp_path / "gguf"
    compress(stories.dense, target, compress_spec("gguf@f16", {}), [], COMPUTE)
    assert (target / GGUF).exists(), json.loads((target / "meltpoint.json").read_text())["reason"]
    cell = stories.measure(target)
    assert cell.protocol["engine"] == "llama.cpp"
    assert 0 <= cell.scores["kl"].value < 1e-4
    assert cell.scores["top1_agreement"].value > 0.98


# --- errors --------------------------------------------------------------------------------------


def divergences(draws: int, windows: int = 120, tokens: int = 128) -> np.ndarray:
    """Divergences of tokens, many times over: long-tailed, and some windows are harder."""
    random = np.random.default_rng(0)
    hard = random.normal(0, 0.5, (draws, windows, 1))
    return np.exp(random.normal(-3, 1.5, (draws, windows, tokens)) + hard).astype(np.float32)


@pytest.mark.parametrize("share", [0.5, 0.99, 0.999])
def test_the_error_of_a_quantile_is_the_spread_over_samples(share):
    found = [quantile(kl, share) for kl in divergences(300)]
    spread = np.std([each.value for each in found])
    assert np.median([each.stderr for each in found]) == pytest.approx(spread, rel=0.15)
    exact = np.quantile(divergences(1)[0].astype(np.float64), share)
    assert quantile(divergences(1)[0], share).value == pytest.approx(exact, rel=1e-12)


def test_the_error_of_a_difference_of_quantiles_is_the_spread_over_samples():
    first = divergences(300)
    second = first * np.random.default_rng(1).lognormal(0.2, 0.3, first.shape)
    pairs = [(quantile(a, 0.99), quantile(b, 0.99)) for a, b in zip(first, second, strict=True)]
    spread = np.std([b.value - a.value for a, b in pairs])
    errors = [(b.units - a.units).std(ddof=1) / math.sqrt(len(a.units)) for a, b in pairs]
    assert np.median(errors) == pytest.approx(spread, rel=0.2)


def test_the_error_of_a_root_is_the_spread_over_samples():
    squares = divergences(300).astype(np.float64).mean(axis=2)
    found = [root_mean(each) for each in squares]
    spread = np.std([each.value for each in found])
    assert np.mean([each.stderr for each in found]) == pytest.approx(spread, rel=0.15)


def test_divergences_that_are_not_finite_are_results():
    kl = np.full((4, 10), np.inf, np.float32)
    found = estimate({"kl.npy": kl, "fidelity.npy": np.full((3, 4), np.nan)})
    assert found["kl"].value == found["kl_p99"].value == math.inf
    assert math.isnan(found["kl_p99"].stderr)
    assert math.isnan(found["probability_rms"].value)
