"""SliceGPT: the official numbers, models that it must leave as they are, and what it refuses."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from meltpoint.checkpoints.description import Description
from meltpoint.methods import _slicegpt_width as widths
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load
from tests.support import structured_golden
from tests.support.shape_chains import registered_shape_methods
from tests.support.steps import linear_names, run, weights
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")
IDS = random_tokens(2, 20, seed=3)
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "opt")
ROWS = structured_golden.rows_of("slicegpt")


@pytest.fixture(scope="module", autouse=True)
def registered():
    with registered_shape_methods():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of a tiny model of three blocks of each family, and of calibration windows."""
    folder = tmp_path_factory.mktemp("slicegpt")
    for family in FAMILIES:
        save_model(folder / family, family, num_hidden_layers=3)
    np.save(folder / "windows.npy", random_tokens(6, 32).numpy())
    return folder


@pytest.fixture
def take(place, tmp_path):
    """Takes the steps of a chain on a model's folder, or on a family's model."""

    def take(chain, base="llama"):
        folder = place / base
        for index, spelling in enumerate(chain.split("+")):
            target = tmp_path / f"{folder.name}-{index}-{spelling}"
            folder = run(folder, target, spelling, place / "windows.npy")
        return folder

    return take


@pytest.fixture
def rotate(take, monkeypatch):
    """Rotates the stream of a model by SliceGPT and cuts nothing."""

    def rotate(base, settings=""):
        with monkeypatch.context() as patch:
            patch.setattr(widths, "kept_width", lambda level, width, interval: width)
            return take(f"slicegpt@0.3{settings}", base)

    return rotate


def logits(folder):
    with torch.no_grad():
        return load(folder, torch.float32, CPU)(IDS).logits


def assert_same(folder, other):
    torch.testing.assert_close(logits(folder), logits(other), rtol=2e-4, atol=2e-5)


def reason(folder):
    description = Description.read(folder)
    assert description.status == "not_applicable"
    return description.reason


@pytest.mark.parametrize("spelling", ROWS)
def test_it_gives_the_official_numbers(spelling, tmp_path):
    row = ROWS[spelling]
    folder = structured_golden.checkpoint(spelling, tmp_path / "checkpoint")
    # Eigenvectors turn with the last digits of the sums that they are of.
    assert structured_golden.perplexity(folder) == pytest.approx(row["ppl"], rel=1e-5)
    shapes = Description.read(folder).shapes
    assert shapes.parameters == row["params_layers"]
    assert {block.width for block in shapes.blocks} == {row["new_dim"]}
    cut = {"kept_dim": shapes.blocks[0].width}
    assert structured_golden.hash_of(cut) == row["cut_sha256"]


@pytest.mark.parametrize("orientation", ["pca", "random"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_rotated_model_computes_the_same(family, orientation, place, rotate):
    rotated = rotate(family, f",final_orientation={orientation}")
    sizes = Description.read(rotated).shapes.blocks[0].shortcuts
    assert sizes == {"attention": (64, 64), "mlp": (64, 64)}
    assert not torch.equal(logits(rotated), logits(place / family))
    assert_same(rotated, place / family)


BEFORE = (
    "rtn@4bit",
    "slicegpt@0.3",
    "slicegpt@0.3,final_orientation=random+sparsegpt@0.5",
    "cut_shapes@0.3",
    "cut_shapes@0.3,rotate=false,empty=true",
    "cut_shapes@0.3,rotate=false,biases=true",
    "factor_shapes@0.3",
)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "opt"])
@pytest.mark.parametrize("before", BEFORE)
def test_a_rotated_model_computes_the_same_after_other_steps(before, family, take, rotate):
    if before == "cut_shapes@0.3" and family == "gemma2":
        pytest.skip("cut_shapes rotates through no norm behind attention")
    parent = take(before, family)
    assert Description.read(parent).status == "ok"
    assert_same(rotate(parent), parent)


def in_a_subspace(folder, target, dimensions):
    """A copy of a model whose embeddings and blocks write to so many directions of the stream."""
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(64, dimensions, generator=generator))[0]
    project = basis @ basis.T
    writers = ("o_proj", "down_proj", "out_proj", "fc2", "project_in")
    for name, tensor in tensors.items():
        module = name.split(".")[-2]
        if module in writers:
            tensors[name] = project @ tensor
        elif module in ("embed_tokens", "embed_positions") and tensor.shape[1] == 64:
            tensors[name] = tensor @ project
    target.mkdir()
    for file in folder.iterdir():
        if file.suffix == ".json":
            (target / file.name).write_bytes(file.read_bytes())
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    return target


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma", "opt"])
def test_what_the_stream_does_not_use_is_cut_without_loss(family, place, take, tmp_path):
    """Epsilon, divisor and mean of the norms are the model's where 24 of 64 channels are left."""
    base = in_a_subspace(place / family, tmp_path / "narrow", 24)
    sliced = take("slicegpt@0.6", base)
    assert {block.width for block in Description.read(sliced).shapes.blocks} == {24}
    assert_same(sliced, base)


def test_a_norm_divided_by_the_sliced_width_is_another(place, take, tmp_path):
    base = in_a_subspace(place / "llama", tmp_path / "narrow", 24)
    sliced = take("slicegpt@0.6,norm_divisor=sliced", base)
    assert (logits(sliced) - logits(base)).abs().max() > 1e-2


@pytest.mark.parametrize("setting", ["norm_epsilon=0.1", "center_embeddings=true"])
def test_the_official_deviations_change_a_model_with_rms_norms(setting, place, rotate):
    rotated = logits(rotate("llama", f",{setting}"))
    assert (rotated - logits(place / "llama")).abs().max() > 1e-4


def test_layer_norms_centre_the_embeddings_in_any_case(rotate):
    assert torch.equal(logits(rotate("opt")), logits(rotate("opt", ",center_embeddings=true")))


def test_a_random_orientation_is_another_basis_of_the_same_function(take):
    folders = [
        take(f"slicegpt@0.3,final_orientation={x}") for x in ("pca", "random", "random,seed=1")
    ]
    pca, first, second = (weights(folder)["model.embed_tokens.weight"] for folder in folders)
    assert not torch.allclose(pca, first)
    assert not torch.allclose(first, second)
    for folder in folders[1:]:
        assert_same(folder, folders[0])


EMPTY = "cut_shapes@0.3,heads=false,neurons=false,depth=false,rotate=false,empty=true"


@pytest.mark.parametrize("chain", ["", f"{EMPTY}+", "slicegpt@0.2+", "factor_shapes@0.3+"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "opt"])
def test_a_level_of_parameters_is_the_nearest_that_there_is(chain, family, place, take):
    """What is counted beforehand, from shapes, is what is left."""
    folder = take(f"{chain}slicegpt@0.45,of=parameters", family)
    description = Description.read(folder)
    assert description.requested == {"parameters": 0.45}
    parent = take(chain[:-1], family) if chain else place / family
    width = description.shapes.blocks[0].width
    blocks = empty_model.decoder_blocks(empty_model.build(parent, torch.float32))[1]
    before = Description.read(parent).shapes.blocks[0].width
    gone = {
        kept: 1 - widths.decoder_parameters(blocks, before, kept) / description.dense_parameters
        for kept in range(8, before, 8)
    }
    assert description.achieved.parameters == pytest.approx(gone[width])
    assert width == min(gone, key=lambda kept: abs(gone[kept] - 0.45))


def test_every_window_passes_twice_through_a_block(take, monkeypatch):
    """Once for the bases of both sites, once for the next block's inputs."""
    calls, forward = [], Walk.forward

    def count(walk, index, *arguments, **others):
        calls.append(index)
        return forward(walk, index, *arguments, **others)

    monkeypatch.setattr(Walk, "forward", count)
    take("slicegpt@0.3")
    assert [calls.count(index) for index in range(3)] == [2, 2, 1]


@pytest.mark.parametrize("family", ["llama", "gemma2", "opt"])
@pytest.mark.parametrize("after", ["wanda@0.5", "sparsegpt@0.5", "rtn@4bit", "factor_shapes@0.3"])
def test_steps_on_top_find_a_sliced_model(after, family, take):
    sliced, folder = take("slicegpt@0.3", family), take(f"slicegpt@0.3+{after}", family)
    description = Description.read(folder)
    assert description.status == "ok"
    assert logits(folder).isfinite().all()
    if after.endswith("0.5"):
        assert description.achieved.zeros == pytest.approx(0.5, abs=0.02)
        assert description.shapes == Description.read(sliced).shapes
    if after == "rtn@4bit":
        assert {linear.stored.bits for linear in description.linears.values()} == {4}


def test_the_last_outputs_keep_their_zeros(take):
    """Nothing is rotated behind the last block: neither its MLP's output nor what the head reads."""
    pruned, sliced = take("wanda@0.5"), take("wanda@0.5+slicegpt@0.3")
    name = linear_names(pruned)[-1]
    assert torch.equal(weights(pruned)[name], weights(sliced)[name])
    for name in ("lm_head.weight", "model.norm.weight"):
        assert torch.equal(weights(pruned)[name], weights(sliced)[name])


@pytest.mark.parametrize(
    ("spelling", "sentence"),
    [
        ("slicegpt@1e-17", "slicegpt@1e-17 removes 0 of 64 channels of the residual stream"),
        ("slicegpt@0.95", "slicegpt@0.95 leaves nothing of the residual stream: 64 channels"),
        (
            "slicegpt@0.3,round_interval=65",
            "round_interval=65 is above the residual stream's width",
        ),
        ("slicegpt@0.3,round_interval=64", "slicegpt@0.3 leaves nothing of the residual stream"),
        (
            "slicegpt@0.3,round_interval=64,of=parameters",
            "slicegpt removes 0 of 64 channels of the residual stream",
        ),
        (
            "slicegpt@0.99,of=parameters",
            "slicegpt cannot remove 0.99 of the dense decoder's parameters: the nearest that it can",
        ),
    ],
)
def test_a_level_that_does_not_apply(spelling, sentence, take):
    assert sentence in reason(take(spelling))


def test_fewer_tokens_than_channels_do_not_apply(place, tmp_path):
    np.save(tmp_path / "few.npy", random_tokens(1, 48).numpy())
    target = run(place / "llama", tmp_path / "target", "slicegpt@0.3", tmp_path / "few.npy")
    assert "has 48 tokens, fewer than the 64 channels of the residual stream" in reason(target)


def test_norms_behind_the_addition_do_not_apply(take, tmp_path):
    base = save_model(tmp_path / "after", "opt", do_layer_norm_before=False)
    assert "OPTDecoderLayer that normalises after the residual" in reason(
        take("slicegpt@0.3", base)
    )


def test_a_head_without_a_norm_in_front_of_it_does_not_apply(take, tmp_path):
    base = save_model(tmp_path / "bare", "opt", _remove_final_layer_norm=True)
    assert "the model has no final norm" in reason(take("slicegpt@0.3", base))
