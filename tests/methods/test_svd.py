"""svd: ranks, the truncation, the meaning of a level, and what becomes of earlier steps."""

import pytest
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.methods._factors import rank_of
from tests.support.low_rank import FACTORED, logits, product, reason_of, tiny
from tests.support.steps import run, weights
from tests.support.tiny_models import save_windows


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return save_windows(tmp_path_factory.mktemp("windows"), 6, 48)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return {family: tiny(tmp_path_factory, family) for family in ("llama", "qwen2", "opt")}


def test_a_product_of_factors_is_the_nearest_of_its_rank(base, tmp_path):
    dense, found = (
        weights(base["llama"]),
        weights(run(base["llama"], tmp_path / "a", "svd@0.3", None)),
    )
    name = "model.layers.1.mlp.gate_proj"
    rank = rank_of(128, 64, 0.7)
    assert found[f"{name}.0.weight"].shape == (rank, 64)
    assert found[f"{name}.1.weight"].shape == (128, rank)
    lost = torch.linalg.svdvals(dense[f"{name}.weight"])[rank:].norm()
    error = (dense[f"{name}.weight"] - product(found, name)).norm()
    assert error.item() == pytest.approx(lost.item(), rel=1e-4)


def test_a_bias_stays_with_the_second_factor(base, tmp_path):
    dense, found = (
        weights(base["qwen2"]),
        weights(run(base["qwen2"], tmp_path / "a", "svd@0.3", None)),
    )
    name = "model.layers.0.self_attn.q_proj"
    assert torch.equal(found[f"{name}.1.bias"], dense[f"{name}.bias"])
    assert f"{name}.0.bias" not in found


@pytest.mark.parametrize("step", FACTORED)
@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("level", [0.2, 0.6])
def test_a_level_of_parameters_is_reached(step, family, level, base, windows, tmp_path):
    target = run(base[family], tmp_path / "a", f"{step}@{level},of=parameters", windows)
    description = Description.read(target)
    assert description.requested == {"parameters": level}
    assert description.achieved.parameters == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("step", FACTORED)
def test_a_level_of_parameters_is_a_total(step, base, windows, tmp_path):
    parent = run(base["llama"], tmp_path / "a", "svd@0.2,of=parameters", windows)
    target = run(parent, tmp_path / "b", f"{step}@0.5,of=parameters", windows)
    assert Description.read(target).achieved.parameters == pytest.approx(0.5, abs=0.01)
    again = run(target, tmp_path / "c", f"{step}@0.3,of=parameters", windows)
    assert "gone already, more than the 0.3" in reason_of(again)


@pytest.mark.parametrize("step", FACTORED)
def test_levels_beyond_the_ranks_do_not_apply(step, base, windows, tmp_path):
    target = run(base["llama"], tmp_path / "a", f"{step}@0.99", windows)
    assert reason_of(target) == (
        f"{step}@0.99 leaves self_attn.q_proj of block 0 no rank: its 64 x 64 numbers are too few"
    )
    target = run(base["llama"], tmp_path / "b", f"{step}@0.999,of=parameters", windows)
    assert (
        f"{step} cannot remove 0.999 of the dense decoder's parameters: the nearest"
        in reason_of(target)
    )


@pytest.mark.parametrize("step", FACTORED)
def test_expanded_heads_have_square_keys(step, base, windows, tmp_path):
    target = run(base["llama"], tmp_path / "a", f"{step}@0.2,expand_kv=true", windows)
    shapes = Description.read(target).shapes
    assert {block.kv_heads for block in shapes.blocks} == {4}
    rank = rank_of(64, 64, 0.8)
    assert weights(target)["model.layers.0.self_attn.k_proj.1.weight"].shape == (64, rank)
    plain = run(base["llama"], tmp_path / "b", f"{step}@0.2", windows)
    rank = rank_of(32, 64, 0.8)
    assert weights(plain)["model.layers.0.self_attn.k_proj.1.weight"].shape == (32, rank)


@pytest.mark.parametrize("step", FACTORED)
def test_factors_of_factors_are_those_of_the_product(step, base, windows, tmp_path):
    parent = run(base["llama"], tmp_path / "a", "svd@0.5", windows)
    # The product has the rank of level 0.5 already, so that nothing more is lost at 0.3.
    target = run(parent, tmp_path / "b", f"{step}@0.3", windows)
    torch.testing.assert_close(logits(target), logits(parent), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("step", FACTORED)
@pytest.mark.parametrize("other", ["wanda@0.5", "sparsegpt@0.5", "rtn@4bit"])
def test_it_goes_before_and_after_other_steps(step, other, family, base, windows, tmp_path):
    before = run(base[family], tmp_path / "a", f"{step}@0.3", windows)
    after = Description.read(run(before, tmp_path / "b", other, windows))
    assert after.achieved.parameters == Description.read(before).achieved.parameters
    parent = run(base[family], tmp_path / "c", other, windows)
    target = Description.read(run(parent, tmp_path / "d", f"{step}@0.3", windows))
    if "0.5" in other:
        assert after.achieved.zeros == pytest.approx(0.5, abs=0.02)
        # Factors are dense, and the checkpoint says so.
        assert target.achieved.zeros < 0.1
        assert target.zeros_lost == 0
        assert "has put other matrices in the place of linears" in target.warnings[-1]
    else:
        assert after.achieved.bits < 8
        assert target.achieved.bits == 32
        assert {linear.stored for linear in target.linears.values()} == {None}
