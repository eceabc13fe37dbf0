"""Sparsity shared out among blocks, and how the walk follows."""

import numpy as np
import pytest
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compression.sparsity_allocation import share_out
from tests.support.steps import linear_names, run, weights
from tests.support.tiny_models import random_tokens, save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("allocation")


@pytest.fixture(scope="module")
def base(folder):
    return save_model(folder / "base", "llama", num_hidden_layers=4)


@pytest.fixture(scope="module")
def windows(folder):
    np.save(folder / "windows.npy", random_tokens(6, 48).numpy())
    return folder / "windows.npy"


def test_more_outliers_are_pruned_less_over_a_range_of_twice_lambda():
    shares = share_out([3.0, 1.0, 2.0], [10, 10, 10], 0.6, 0.08)
    assert shares == pytest.approx([0.52, 0.68, 0.6])


@pytest.mark.parametrize("fraction", [0.02, 0.05, 0.95, 0.99])
def test_the_mean_holds_where_a_bound_cuts_off(fraction):
    """The official code would give a mean of 0.051 for 0.05, and fail on a block of 1.07."""
    outliers, sizes = [5.0, 0.1, 0.2, 0.3], [30, 10, 20, 40]
    shares = share_out(outliers, sizes, fraction, 0.2)
    assert np.average(shares, weights=sizes) == pytest.approx(fraction, abs=1e-9)
    assert min(shares) > 0
    assert max(shares) < 1
    assert shares[0] == min(shares)


def test_blocks_without_a_difference_get_the_same():
    """The official code divides zero by zero."""
    assert share_out([1.5, 1.5], [7, 9], 0.3, 0.08) == pytest.approx([0.3, 0.3])


def sparsities(folder):
    """Of each block."""
    found = weights(folder)
    zeros: dict[str, list[float]] = {}
    for name in linear_names(folder):
        block = name.split(".")[2]
        zeros.setdefault(block, []).append((found[name] == 0).float().mean().item())
    return [np.mean(block) for block in zeros.values()]


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_blocks_differ_and_the_model_has_what_was_asked_for(method, base, windows, tmp_path):
    step = f"{method}@0.5,allocation=owl,outlier_ratio=3"
    owl = run(base, tmp_path / "owl", step, windows)
    blocks = sparsities(owl)
    assert max(blocks) - min(blocks) == pytest.approx(0.16, abs=0.02)
    assert Description.read(owl).achieved.zeros == pytest.approx(0.5, abs=0.01)
    assert sparsities(run(base, tmp_path / "even", f"{method}@0.5", windows)) == pytest.approx(
        [0.5] * 4, abs=0.01
    )


def test_a_tied_head_survives_the_pass_more(windows, tmp_path):
    base = save_model(tmp_path / "base", "qwen2")
    run(base, tmp_path / "owl", "wanda@0.5,allocation=owl", windows)
    assert set(weights(tmp_path / "owl")) == set(weights(base))


def test_a_pattern_knows_no_allocation(base, windows, tmp_path):
    owl = run(base, tmp_path / "owl", "wanda@2of4,allocation=owl", windows)
    plain = run(base, tmp_path / "plain", "wanda@2of4", windows)
    ours, theirs = weights(owl), weights(plain)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_magnitude_looks_at_text_only_for_an_allocation():
    magnitude = methods.find("magnitude")
    plain = parse_step("magnitude@0.5,calibration=ptb,samples=3,lambda_=0.1")
    assert str(magnitude.canonical(plain)) == "magnitude@0.5"
    assert not magnitude.settings(plain).calibrated
    spelling = "magnitude@0.5,allocation=owl,calibration=ptb,lambda_=0.1"
    owl = parse_step(spelling)
    assert str(magnitude.canonical(owl)) == spelling
    assert magnitude.settings(owl).calibrated


def test_true_sequential_prunes_on_what_was_pruned_before(base, windows, tmp_path):
    """q, k and v come first in both orders; what runs behind them sees other inputs."""
    at_once = weights(run(base, tmp_path / "a", "sparsegpt@0.5", windows))
    in_order = weights(run(base, tmp_path / "b", "sparsegpt@0.5,true_sequential=true", windows))
    first = "model.layers.0.self_attn.q_proj.weight"
    later = "model.layers.0.mlp.down_proj.weight"
    torch.testing.assert_close(at_once[first], in_order[first])
    assert not torch.allclose(at_once[later], in_order[later])
    assert ((in_order[later] == 0).float().mean() - 0.5).abs() < 0.01


def test_a_variant_that_cannot_reach_its_sparsity_says_so(base, windows, tmp_path):
    target = run(base, tmp_path / "checkpoint", "wanda@0.95,variant=true", windows)
    assert "at most 0.8 of a row's metric" in Description.read(target).reason
