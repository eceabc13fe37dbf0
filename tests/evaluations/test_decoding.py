"""Decoding strategies: token ids of official code, identities between strategies, distributions."""

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations import _decoding
from meltpoint.evaluations._decoding import _groups, mirostat, parse
from meltpoint.evaluations._decoding._contract import Batch
from meltpoint.evaluations._decoding._run import write_texts
from meltpoint.evaluations.engines import open_engine
from tests.support import decoding_golden as golden
from tests.support.first_layers import first_layers

needs_shared = pytest.mark.skipif(not golden.MODEL.is_dir(), reason="the shared model is not here")
pytestmark = needs_shared

EOS = frozenset([2])
IDS = [prompt["prompt_ids"] for prompt in golden.prompts()]
# A token that these texts are full of.
FULL_STOP = 426


@pytest.fixture(scope="module")
def engine():
    with open_engine(golden.MODEL, Compute(device="cpu")) as opened:
        yield opened


@pytest.fixture(scope="module")
def amateur(tmp_path_factory):
    folder = first_layers(golden.MODEL, 4, tmp_path_factory.mktemp("amateur"))
    with open_engine(folder, Compute(device="cpu")) as opened:
        yield opened


def tokens_of(engine, spelled, prompts=IDS, new=golden.NEW_TOKENS, eos=EOS, **keys):
    texts = write_texts(engine, parse(spelled), prompts, new, eos, **keys)
    assert all(text.finite for text in texts)
    return [text.tokens for text in texts]


@pytest.mark.parametrize("case", golden.cases())
def test_token_ids_are_those_of_the_official_code(engine, amateur, case):
    expected = [prompt["generated_ids"][case] for prompt in golden.prompts()]
    assert tokens_of(engine, golden.spelled(case), amateur=amateur) == expected


@pytest.mark.parametrize("prompt", golden.prompts(), ids=lambda prompt: prompt["prompt"][:12])
def test_mirostat_begins_as_the_official_code_does(engine, prompt):
    with engine.decoding([prompt["prompt_ids"]], 1) as decoding:
        probabilities = decoding.logits[0].softmax(dim=-1).sort(descending=True).values
    first = prompt["mirostat_first_step"]
    s = mirostat.zipf_exponent(probabilities)
    assert s == pytest.approx(first["s"], rel=1e-5)
    for tau, before in first["k at mu = 2 tau (before + 1)"].items():
        assert mirostat.k_of(s, 2 * float(tau), len(probabilities)) == before + 1


@pytest.mark.parametrize(
    ("spelled", "same"),
    [
        ("contrastive_search,alpha=0", "greedy"),
        ("fsd,alpha=0", "greedy"),
        ("fsd_d,alpha=0", "greedy"),
        ("contrastive_decoding,beta=0,amateur=first", "greedy"),
        ("beam,beams=1", "greedy"),
        ("sample,top_k=1", "greedy"),
        ("diverse_beam,groups=1", "beam"),
        ("sample,top_p=1,typical=1,eta=0,min_p=0,top_k=0,temperature=1", "sample"),
    ],
)
def test_a_setting_without_effect_gives_the_plain_strategy(engine, amateur, spelled, same):
    assert tokens_of(engine, spelled, amateur=amateur) == tokens_of(engine, same)


def test_a_penalty_of_zero_gives_each_group_the_same_beams(engine):
    pair = "diverse_beam,beams=4,groups=2,diversity_penalty=0"
    assert tokens_of(engine, pair) == tokens_of(engine, "beam,beams=2")


@pytest.mark.parametrize("beams", [2, 5])
@pytest.mark.parametrize("eos", [{FULL_STOP}, {FULL_STOP, 432, 410}])
def test_one_group_ends_as_the_beam_search_of_transformers_does(engine, beams, eos):
    eos = frozenset(eos)
    expected = tokens_of(engine, f"beam,beams={beams}", eos=eos)
    assert any(len(text) < golden.NEW_TOKENS for text in expected)
    batch = Batch(engine, IDS, range(len(IDS)), golden.NEW_TOKENS, eos)
    with torch.no_grad():
        texts = _groups.search(batch, beams, groups=1, penalty=0.0)
    assert [text.tokens for text in texts] == expected


def test_greedy_equals_generate_of_transformers(engine):
    model = AutoModelForCausalLM.from_pretrained(golden.MODEL, dtype=torch.float32)
    ids = torch.tensor([IDS[0]])
    written = model.generate(ids, max_new_tokens=20, do_sample=False, eos_token_id=2)
    assert tokens_of(engine, "greedy", IDS[:1], new=20) == written[:, ids.shape[1] :].tolist()


STRATEGIES = (
    "greedy",
    "beam",
    "diverse_beam",
    "contrastive_search",
    "contrastive_decoding,amateur=first",
    "fsd,n=3",
    "fsd_d",
    "dola",
    "sample,top_p=0.9,temperature=0.8",
    "mirostat",
)


def test_every_strategy_is_tested_for_its_batch():
    assert {parse(each).spelled.partition(",")[0] for each in STRATEGIES} == set(
        _decoding.registry()
    )


@pytest.mark.parametrize("spelled", STRATEGIES)
def test_texts_do_not_depend_on_the_batch(amateur, spelled):
    texts = []
    for batch in (1, 3, "auto"):
        with open_engine(golden.MODEL, Compute(device="cpu", batch=batch)) as opened:
            texts.append(tokens_of(opened, spelled, new=24, eos=frozenset([410]), amateur=amateur))
    assert texts[0] == texts[1] == texts[2]
    assert len({len(text) for text in texts[0]}) > 1


@pytest.mark.parametrize("spelled", ["sample", "mirostat"])
def test_a_seed_gives_one_text_and_another_seed_another(engine, spelled):
    first, again, other = (tokens_of(engine, spelled, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


DRAWS = 20_000
# Few tokens, so that many texts are a batch; what follows them is far from certain.
SHORT = IDS[1][:3] if IDS else []


def warped(logits: torch.Tensor, name: str, value: float) -> np.ndarray:
    """The distribution that a setting leaves, by its paper's formula, float64 [vocabulary]."""
    if name == "temperature":
        return torch.softmax(logits / value, -1).numpy()
    p = torch.softmax(logits, -1).numpy()
    order = np.argsort(-p, kind="stable")
    if name == "top_k":
        kept = order[: int(value)]
    elif name == "top_p":
        kept = order[: np.searchsorted(np.cumsum(p[order]), value) + 1]
    elif name == "min_p":
        kept = np.flatnonzero(p >= value * p.max())
    elif name == "eta":
        entropy = -(p * np.log(p)).sum()
        kept = np.flatnonzero(p >= min(value, np.sqrt(value) * np.exp(-entropy)))
    else:
        entropy = -(p * np.log(p)).sum()
        typical = np.argsort(np.abs(-np.log(p) - entropy), kind="stable")
        kept = typical[: np.searchsorted(np.cumsum(p[typical]), value) + 1]
    left = np.zeros_like(p)
    left[kept] = p[kept]
    return left / left.sum()


def check_distribution(counts: np.ndarray, expected: np.ndarray) -> None:
    """Pearson's test over tokens that are expected five times at least; the others are one bin."""
    assert not counts[expected == 0].any()
    rare = expected * DRAWS < 5
    bins = np.append(expected[~rare], expected[rare].sum()) * DRAWS
    seen = np.append(counts[~rare], counts[rare].sum())
    seen, bins = seen[bins > 0], bins[bins > 0]
    assert stats.chisquare(seen, bins * seen.sum() / bins.sum()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 1.5),
        ("top_k", 7),
        ("top_p", 0.8),
        ("min_p", 0.02),
        ("typical", 0.7),
        ("eta", 0.01),
    ],
)
def test_draws_follow_the_distribution(engine, name, value):
    with engine.decoding([SHORT], 1) as decoding:
        logits = decoding.logits[0].double()
    drawn = tokens_of(engine, f"sample,{name}={value}", [SHORT] * DRAWS, new=1)
    counts = np.bincount(np.concatenate(drawn), minlength=len(logits))
    check_distribution(counts, warped(logits, name, value))


def test_mirostat_draws_from_its_k_largest(engine):
    with engine.decoding([SHORT], 1) as decoding:
        logits = decoding.logits[0].double()
    drawn = tokens_of(engine, "mirostat,tau=3", [SHORT] * DRAWS, new=1)
    probabilities = logits.float().softmax(dim=-1).sort(descending=True).values
    k = mirostat.k_of(mirostat.zipf_exponent(probabilities), 6.0, len(logits))
    assert 1 < k < len(logits)
    counts = np.bincount(np.concatenate(drawn), minlength=len(logits))
    check_distribution(counts, warped(logits, "top_k", k))


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_mirostat_holds_the_surprise_at_its_target(engine, tau):
    prompt = IDS[0]
    texts = tokens_of(engine, f"mirostat,tau={tau}", [prompt] * 16, new=200)
    windows = np.array([[*prompt, *text] for text in texts if len(text) == 200])
    surprise = engine.nll(windows)[:, len(prompt) - 1 :] / np.log(2)
    assert surprise.mean() == pytest.approx(tau, abs=0.35)


@pytest.mark.parametrize("spelled", STRATEGIES)
def test_a_text_ends_where_logits_are_not_finite(engine, amateur, spelled):
    handle = engine.model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: output * float("nan")
    )
    try:
        texts = write_texts(engine, parse(spelled), IDS, 8, EOS, amateur=amateur)
    finally:
        handle.remove()
    assert not any(text.finite for text in texts)


@pytest.mark.parametrize(
    ("spelled", "sentence"),
    [
        ("gready", "there is no strategy 'gready': did you mean 'greedy'"),
        ("fsd_d,alfa=0.6", "the strategy has no setting 'alfa': did you mean 'alpha'"),
        ("fsd,alpha=0.6,alpha=0.4", "gives alpha twice"),
        ("fsd,alpha", "'alpha' is no setting: write key=value"),
        ("fsd,alpha=1.5", "alpha: must be at most 1; it is '1.5'"),
        ("sample,temperature=0", "temperature: must be greater than 0"),
        ("diverse_beam,beams=4,groups=3", "4 beams cannot be divided into 3 groups of one size"),
        ("contrastive_decoding", "amateur: this key is needed"),
    ],
)
def test_a_wrong_strategy_is_refused_in_a_sentence(spelled, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        parse(spelled)


def test_values_may_hold_commas_where_a_list_or_a_chain_is_meant():
    assert parse("dola,candidate_layers=[2,4],mature_layer=5").settings.candidate_layers == (2, 4)
    chain = "m/wanda@0.5,samples=8"
    assert parse(f"contrastive_decoding,amateur={chain},beta=1").amateur == chain


def test_dola_says_which_layers_a_model_lacks(engine):
    with pytest.raises(
        NotApplicable, match=r"layers 2, 7 with layer 5, and the model has 5 blocks"
    ):
        tokens_of(engine, "dola,candidate_layers=2-7")
