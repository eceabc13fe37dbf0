"""asvd: scales, sensitivities, the choice of ratios, and what becomes of earlier steps."""

import numpy as np
import pytest
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compression.search import read_result
from meltpoint.compute import Compute
from meltpoint.errors import NotApplicable
from meltpoint.methods import _asvd_sensitivity
from meltpoint.methods._asvd_factors import aligned_rank, choose_ratios
from meltpoint.methods.asvd import Settings
from meltpoint.methods.contract import Context
from meltpoint.model.load import load
from tests.support.low_rank import product, tiny
from tests.support.steps import run, weights
from tests.support.tiny_models import random_tokens

TOKENS = random_tokens(6, 48)
DOWN = "model.layers.1.mlp.down_proj"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asvd")
    np.save(folder / "windows.npy", TOKENS.numpy())
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny(tmp_path_factory, "llama", depth=3)


@pytest.fixture(scope="module")
def stepped(base, place):
    """The checkpoint of a step on the base model, each made once."""

    def make(step):
        target = place / step
        return target if target.exists() else run(base, target, step, place / "windows.npy")

    return make


def search_of(folder):
    return read_result(folder.with_name(f"{folder.name}-search.npz"))


def model_of(folder):
    return load(folder, torch.float32, torch.device("cpu"))


def inputs_of(folder, name):
    """Inputs [windows, tokens, columns] of a linear on the calibration."""
    model, seen = model_of(folder), []
    model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(TOKENS)
    return seen[0]


def perplexity(model, windows):
    with torch.no_grad():
        logits = model(windows).logits[:, :-1]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).double(), windows[:, 1:].flatten()
    ).exp()


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("abs_mean", lambda x: x.abs().mean(dim=1).sum(dim=0)),
        ("abs_max", lambda x: x.abs().amax(dim=(0, 1))),
    ],
)
def test_scales_are_those_of_the_dense_models_inputs(scaling, expected, base, stepped):
    found = search_of(stepped(f"asvd@0.3,scaling={scaling},alpha=0.7"))
    wanted = expected(inputs_of(base, DOWN)) ** 0.7 + 1e-6
    torch.testing.assert_close(
        torch.from_numpy(found["scale.1.mlp.down_proj"]), wanted, rtol=1e-4, atol=1e-6
    )


def test_a_sensitivity_is_the_perplexity_with_one_linear_truncated(base, stepped):
    found = search_of(stepped("asvd@0.3"))
    model, name = model_of(base), "1.mlp.down_proj"
    scale = torch.from_numpy(found[f"scale.{name}"])
    weight = model.get_submodule(DOWN).weight
    u, s, v = torch.linalg.svd(weight * scale, full_matrices=False)
    rank = aligned_rank(*weight.shape, 0.5, 1)
    weight.data = (u[:, :rank] * s[:rank]) @ v[:rank] / scale
    row = found["perplexities"][found["linears"].index(name)]
    measured = row[found["ratios"].index(0.5)]
    assert measured == pytest.approx(perplexity(model, TOKENS[:4]).item(), rel=1e-5)
    assert found["dense"] == pytest.approx(perplexity(model_of(base), TOKENS[:4]).item(), rel=1e-5)


def test_a_killed_search_tries_only_the_blocks_that_are_left(base, monkeypatch, tmp_path):
    compute, settings = Compute(device="cpu"), Settings(sensitivity_windows=1, lowest_ratio=0.9)
    expected = _asvd_sensitivity.search(base, settings, Context(TOKENS[:2], compute))
    behind, asked = _asvd_sensitivity.Trial._perplexities_behind, []

    def killed_at_the_second(trial, index, outputs):
        asked.append(index)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return behind(trial, index, outputs)

    monkeypatch.setattr(_asvd_sensitivity.Trial, "_perplexities_behind", killed_at_the_second)
    context = Context(TOKENS[:2], compute, resume=tmp_path / "resume")
    with pytest.raises(KeyboardInterrupt):
        _asvd_sensitivity.search(base, settings, context)
    found = _asvd_sensitivity.search(base, settings, context)
    assert asked == [0, 1, 1, 2]
    np.testing.assert_array_equal(found.pop("perplexities"), expected.pop("perplexities"))
    assert found.keys() == expected.keys()
    assert found["dense"] == expected["dense"]


def test_a_truncated_linear_is_the_nearest_to_the_scaled_weight(base, stepped):
    folder = stepped("asvd@0.5")
    dense, found = weights(base), weights(folder)
    name = next(n.removesuffix(".0.weight") for n in found if n.endswith(".0.weight"))
    scale = torch.from_numpy(search_of(folder)[f"scale.{name.removeprefix('model.layers.')}"])
    rank = len(found[f"{name}.0.weight"])
    weight = dense[f"{name}.weight"]
    lost = torch.linalg.svdvals(weight * scale)[rank:].norm()
    error = ((weight - product(found, name)) * scale).norm()
    assert error.item() == pytest.approx(lost.item(), rel=1e-3)


@pytest.mark.parametrize("level", [0.03, 0.1, 0.3, 0.5])
def test_about_the_level_of_the_linears_numbers_is_gone(level, stepped):
    gone = Description.read(stepped(f"asvd@{level}")).achieved.parameters
    # Ratios are tenths, and ranks are rounded down.
    assert level - 0.01 < gone < level + 0.04


MADE_UP = {
    "linears": ["0.a", "0.b"],
    "sizes": [(10, 10, 100), (10, 30, 300)],
    "ratios": [0.4, 0.8],
    "perplexities": np.array([[9.0, 2.0], [5.0, 3.0]]),
}


@pytest.mark.parametrize(
    ("level", "ratios"),
    [
        (0.05, {"0.a": 0.8}),
        (0.1, {"0.a": 0.8, "0.b": 0.8}),
        (0.3, {"0.a": 0.8, "0.b": 0.4}),
        (0.6, {"0.a": 0.4, "0.b": 0.4}),
    ],
)
def test_the_least_harmful_candidates_are_taken_until_the_level_is_reached(level, ratios):
    assert choose_ratios(MADE_UP, level, 1, None) == ratios


def test_nan_is_no_candidate():
    perplexities = np.array([[np.nan, 2.0], [np.inf, 3.0]])
    found = choose_ratios({**MADE_UP, "perplexities": perplexities}, 0.5, 1, None)
    assert found == {"0.a": 0.8, "0.b": 0.4}


def test_a_level_beyond_all_candidates_does_not_apply():
    with pytest.raises(NotApplicable) as raised:
        choose_ratios(MADE_UP, 0.7, 1, None)
    assert str(raised.value) == (
        "asvd cannot remove 0.7 of the linears' numbers: with lowest_ratio=0.4 the most is 0.600"
    )
    with pytest.raises(NotApplicable, match=r"0\.9 of the dense decoder's .* nearest .* is 0\.6"):
        choose_ratios(MADE_UP, 0.9, 1, (400, 400))


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("level", [0.2, 0.5])
def test_a_level_of_parameters_is_reached(family, level, tmp_path_factory, place, tmp_path):
    parent = tiny(tmp_path_factory, family)
    target = run(parent, tmp_path / "a", f"asvd@{level},of=parameters", place / "windows.npy")
    assert Description.read(target).achieved.parameters == pytest.approx(level, abs=0.05)


def test_all_levels_read_one_search_and_no_text():
    method = methods.find("asvd")
    steps = [parse_step(f"asvd@{level},alpha=0.7,of=parameters") for level in (0.03, 0.3)]
    assert {str(method.search_step(step)) for step in steps} == {"asvd,alpha=0.7"}
    assert not any(method.calibrated(step) for step in steps)
    assert method.settings(steps[0]).calibrated


def test_ranks_are_rounded_up(stepped):
    found = weights(stepped("asvd@0.3,rank_align=8"))
    ranks = {len(w) for name, w in found.items() if name.endswith(".0.weight")}
    assert ranks
    assert all(rank % 8 == 0 for rank in ranks)
    assert aligned_rank(64, 64, 0.5, 1) == 16
    assert aligned_rank(64, 64, 0.54, 8) == 24


def test_official_decompositions_are_randomised(base, stepped):
    assert Settings(official=True).decomposition == "randomised"
    assert Settings(official=True, decomposition="exact").decomposition == "exact"
    exact, randomised = (stepped(f"asvd@0.3{more}") for more in ("", ",official=true"))
    assert not torch.equal(
        *(torch.cat([w.flatten() for w in weights(f).values()]) for f in (exact, randomised))
    )
    windows = random_tokens(4, 48, seed=5)
    numbers = [perplexity(model_of(f), windows).item() for f in (exact, randomised)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.1)


@pytest.mark.parametrize("other", ["wanda@0.5", "sparsegpt@0.5", "rtn@4bit", "svd@0.2"])
def test_it_goes_before_and_after_other_steps(other, base, stepped, place, tmp_path):
    before = stepped("asvd@0.3")
    after = Description.read(run(before, tmp_path / "a", other, place / "windows.npy"))
    parent = run(base, tmp_path / "b", other, place / "windows.npy")
    target = run(parent, tmp_path / "c", "asvd@0.3,of=parameters", place / "windows.npy")
    assert Description.read(target).achieved.parameters == pytest.approx(0.3, abs=0.05)
    if "0.5" in other:
        assert after.achieved.zeros == pytest.approx(0.5, abs=0.02)
        # Linears that stay whole keep their zeros, factors are dense.
        assert 0 < Description.read(target).achieved.zeros < 0.5
        assert Description.read(target).zeros_lost == 0
    if other == "svd@0.2":
        assert (
            Description.read(target).shapes.parameters < Description.read(parent).shapes.parameters
        )
