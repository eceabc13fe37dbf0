"""svd_llm: the official numbers, the whitening and the update."""

import numpy as np
import pytest
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.methods import svd_llm
from meltpoint.model.load import load
from tests.support import structured_golden
from tests.support.low_rank import logits, product, reason_of, tiny
from tests.support.steps import run, weights
from tests.support.tiny_models import random_tokens, save_windows

ROWS = structured_golden.rows_of("svd_llm")
# The official names of the factors, which run in the opposite order.
OFFICIAL = {"0": "v_proj", "1": "u_proj"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny(tmp_path_factory, "llama", depth=3)


def official_shapes(folder):
    """Shapes of the first block's weights, by their official names."""
    found = {}
    for name, weight in weights(folder).items():
        if not name.startswith("model.layers.0."):
            continue
        path, _, factor = name.removesuffix(".weight").rpartition(".")
        if factor in OFFICIAL:
            name = f"{path.removesuffix('proj')}{OFFICIAL[factor]}.weight"
        found[name] = list(weight.shape)
    return found


@pytest.mark.parametrize("step", ROWS)
def test_it_gives_the_official_numbers(step, tmp_path):
    row, target = ROWS[step], structured_golden.checkpoint(step, tmp_path / "checkpoint")
    assert structured_golden.perplexity(target) == pytest.approx(row["ppl"], rel=1e-3)
    found = Description.read(target).shapes.parameters
    assert found == structured_golden.parameters_of(row)
    shapes = official_shapes(target)
    assert shapes == row["shapes_layer0"]
    assert structured_golden.hash_of(shapes) == row["cut_sha256"]


def inputs_of(folder, tokens, name):
    """Inputs [tokens, columns] of a linear as a checkpoint's model gives them."""
    model, seen = load(folder, torch.float32, torch.device("cpu")), []
    module = model.get_submodule(name)
    module.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(0, -2)))
    with torch.no_grad():
        model(tokens)
    return torch.cat(seen)


def error(found, dense, name, inputs):
    return (inputs @ (product(found, name) - dense[f"{name}.weight"]).T).norm()


@pytest.mark.parametrize("name", ["self_attn.v_proj", "mlp.down_proj"])
def test_its_error_on_the_dense_inputs_is_the_least_of_its_rank(name, base, tmp_path):
    """The error is that of the outputs' dropped singular values, in the last block too."""
    windows, name = save_windows(tmp_path, 6, 48), f"model.layers.2.{name}"
    inputs, dense = inputs_of(base, random_tokens(6, 48), name), weights(base)
    found = weights(run(base, tmp_path / "a", "svd_llm@0.4", windows))
    rank = len(found[f"{name}.0.weight"])
    least = torch.linalg.svdvals(inputs @ dense[f"{name}.weight"].T)[rank:].norm()
    assert error(found, dense, name, inputs).item() == pytest.approx(least.item(), rel=1e-3)
    plain = weights(run(base, tmp_path / "b", "svd@0.4", None))
    assert least < error(plain, dense, name, inputs)


def test_the_update_fits_the_inputs_of_the_truncated_model(base, tmp_path):
    windows, name = save_windows(tmp_path, 6, 48), "model.layers.2.mlp.gate_proj"
    truncated = run(base, tmp_path / "a", "svd_llm@0.4", windows)
    updated = run(base, tmp_path / "b", "svd_llm@0.4,update=true,update_windows=6", windows)
    before, after, dense = weights(truncated), weights(updated), weights(base)
    first = f"{name}.0.weight"
    assert torch.equal(before[first], after[first])
    # In front of block 2 all factors are updated ones, in the block itself they are truncated.
    mixed = {n: after[n] if ".2." not in n else t for n, t in before.items()}
    inputs = inputs_with(updated, mixed, name)
    assert error(after, dense, name, inputs) < error(before, dense, name, inputs)
    outputs = inputs @ dense[f"{name}.weight"].T
    solution = torch.linalg.lstsq(inputs @ before[first].T, outputs).solution.T
    torch.testing.assert_close(after[f"{name}.1.weight"], solution, rtol=1e-2, atol=1e-3)


def inputs_with(folder, state, name):
    """Inputs of a linear on the test's windows, in a checkpoint's model with other weights."""
    model, seen = load(folder, torch.float32, torch.device("cpu")), []
    model.load_state_dict(state, strict=False)
    model.get_submodule(name).register_forward_pre_hook(
        lambda _, args: seen.append(args[0].flatten(0, -2))
    )
    with torch.no_grad():
        model(random_tokens(6, 48))
    return torch.cat(seen)


@pytest.mark.parametrize("family", ["mistral", "qwen2", "opt"])
def test_the_update_works_on_each_family(family, tmp_path_factory, tmp_path):
    parent = tiny(tmp_path_factory, family)
    target = run(parent, tmp_path / "a", "svd_llm@0.3,update=true", save_windows(tmp_path, 6, 48))
    assert logits(target).isfinite().all()


def test_a_singular_covariance_is_shifted(base, tmp_path):
    """Windows of one token only: the first block's inputs have one direction each."""
    np.save(tmp_path / "same.npy", np.full((6, 48), 7))
    target = run(base, tmp_path / "a", "svd_llm@0.3", tmp_path / "same.npy")
    assert logits(target).isfinite().all()


def test_too_few_tokens_do_not_apply(base, tmp_path):
    target = run(base, tmp_path / "a", "svd_llm@0.3", save_windows(tmp_path, 2, 24))
    assert reason_of(target) == (
        "svd_llm needs as many calibration tokens as self_attn.q_proj of block 0 has inputs: 48 "
        "tokens cannot whiten 64"
    )


def test_the_windows_of_no_update_are_not_spelled():
    settings = svd_llm.Settings(update_windows=4)
    assert settings.unused_settings() == {"update_windows"}
    assert svd_llm.compressed_windows(settings) == 0
    assert svd_llm.compressed_windows(svd_llm.Settings(update=True)) == 16
