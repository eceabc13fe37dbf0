"""Matrices that are no linears in transformers' models: counted, calibrated and written back."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, GptOssConfig, JetMoeConfig

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.size import size
from meltpoint.model import empty_model
from meltpoint.model.backward_walk import walk_backwards
from meltpoint.model.base_models import link, verify, write_description
from meltpoint.model.block_walk import Walk
from meltpoint.model.gradient_statistics import Gradient
from meltpoint.model.load import load
from tests.support.steps import run
from tests.support.tiny_models import COMMON, random_tokens, save_model, save_windows

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return save_windows(tmp_path_factory.mktemp("windows"), 6, 48)


def save_gpt_oss(folder):
    torch.manual_seed(0)
    config = GptOssConfig(**COMMON, head_dim=16, num_local_experts=4, num_experts_per_tok=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    write_description(folder, verify(folder))
    return folder


def test_half_of_all_matrices_of_gpt_oss_are_pruned(tmp_path, windows):
    """Its experts are three-dimensional parameters, most of what its blocks hold."""
    base = save_gpt_oss(tmp_path / "base")
    pruned = run(base, tmp_path / "pruned", "magnitude@0.5", windows)
    stored = load_file(next(pruned.glob("model-00001*")))
    matrices = [t for n, t in stored.items() if t.dim() > 1 and not n.endswith("_bias")]
    zeros = sum(int((t == 0).sum()) for t in matrices) / sum(t.numel() for t in matrices)
    assert zeros == pytest.approx(0.5, abs=0.002)
    assert Description.read(pruned).achieved.zeros == pytest.approx(zeros, abs=1e-6)
    rounded = run(base, tmp_path / "rounded", "rtn@4bit", windows)
    assert size(rounded)["decoder_bits_per_weight"] < 5
    assert Description.read(rounded).achieved.bits < 5


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "gpt2", "gpt_neox"])
def test_sizes_are_those_of_the_parameters(family, tmp_path):
    base = save_model(tmp_path / "base", family)
    model = AutoModelForCausalLM.from_pretrained(base)
    assert size(base)["parameters"] == sum(p.numel() for p in model.parameters())
    blocks = "h" if family == "gpt2" else "layers"
    assert Description.read(base).dense_parameters == sum(
        p.numel() for p in model.base_model.get_submodule(blocks).parameters()
    )


def collected(folder, windows, batch, names=("norm", "hessian", "variance")):
    walk = Walk(Reader(folder, torch.float32, CPU), windows, Compute(device="cpu", batch=batch))
    walk.embed()
    empty_model.fill(walk.model, walk.reader.read(walk.names(0)))
    with torch.no_grad():
        return walk.collect(0, names), walk


def test_an_expert_has_the_statistics_of_the_tokens_that_it_was_sent(tmp_path):
    base = save_model(tmp_path, "mixtral")
    windows = random_tokens(4, 32)
    statistics, walk = collected(base, windows, batch=3)
    seen = {}
    experts = walk.blocks[0].mlp.experts
    hook = experts.register_forward_pre_hook(lambda _, args: seen.update(args=args))
    with torch.no_grad():
        walk.forward(0, slice(0, 4))
    hook.remove()
    hidden, index, _ = seen["args"]
    for number in range(4):
        sent = hidden[(index == number).any(dim=1)]
        expected = sent.square().sum(0) / 4
        norm = statistics[f"mlp.experts.{number}.gate_proj"].norm
        torch.testing.assert_close(norm, expected, rtol=1e-4, atol=1e-6)
        assert statistics[f"mlp.experts.{number}.up_proj"].norm is norm


def test_statistics_of_experts_do_not_depend_on_the_batch(tmp_path):
    base = save_model(tmp_path, "qwen3_moe")
    windows = random_tokens(5, 32)
    (one, _), (all_, _) = (collected(base, windows, batch=batch) for batch in (1, 5))
    for name in one:
        for value in ("norm", "hessian", "variance"):
            left, right = getattr(one[name], value), getattr(all_[name], value)
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_an_expert_that_was_sent_nothing_is_calibrated_on_all_tokens_and_said(tmp_path):
    base = save_model(tmp_path / "base", "mixtral", num_local_experts=16)
    windows = random_tokens(2, 6)
    np.save(tmp_path / "windows.npy", windows.numpy())
    statistics, walk = collected(base, windows, batch=2)
    seen = {}
    walk.blocks[0].mlp.experts.register_forward_pre_hook(lambda _, args: seen.update(args=args))
    with torch.no_grad():
        walk.forward(0, slice(0, 2))
    hidden, index, _ = seen["args"]
    unsent = sorted(set(range(16)) - set(index.flatten().tolist()))
    assert unsent
    assert walk.unsent == {0: sorted(f"mlp.experts.{number}" for number in unsent)}
    norm = statistics[f"mlp.experts.{unsent[0]}.gate_proj"].norm
    torch.testing.assert_close(norm, hidden.square().sum(0) / 2, rtol=1e-4, atol=1e-6)
    pruned = run(base, tmp_path / "pruned", "wanda@0.5", tmp_path / "windows.npy")
    said = [w for w in Description.read(pruned).warnings if "no calibration token was sent" in w]
    assert len(said) == 1
    assert f"mlp.experts.{unsent[0]}" in said[0]


def test_gradients_of_experts_are_those_of_autograd(tmp_path):
    base = save_model(tmp_path, "mixtral")
    windows = random_tokens(3, 16)
    model = load(base, torch.float32, CPU).requires_grad_()
    logits = model(windows).logits[:, :-1]
    nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).backward()
    reader = Reader(base, torch.float32, CPU)
    compute = Compute(device="cpu", batch=2)
    for block in walk_backwards(reader, windows, compute, {"gradient": Gradient}):
        for name, linear in empty_model.linears(model.model.layers[block.index]).items():
            ours, theirs = block.gradients[name].gradient, linear.weight.grad
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-7)


def test_a_block_that_holds_other_large_matrices_is_refused_by_name(tmp_path):
    torch.manual_seed(0)
    config = JetMoeConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2, kv_channels=16
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "source")
    with pytest.raises(
        MeltpointError, match=r"JetMoeDecoderLayer holds mlp\.input_linear\.weight, "
    ):
        link(tmp_path / "source", tmp_path / "base", "models.m")


def test_a_library_that_compresses_linears_alone_is_not_applicable(tmp_path, windows):
    base = save_gpt_oss(tmp_path / "base")
    description = Description.read(run(base, tmp_path / "packed", "nf4", windows))
    assert description.status == "not_applicable"
    assert "mlp.experts.gate_up_proj is none" in description.reason


def test_pythia_is_read_and_written_by_its_stored_names(tmp_path, windows):
    base = save_model(tmp_path / "base", "gpt_neox")
    pruned = run(base, tmp_path / "pruned", "wanda@0.5", windows)
    for folder in (base, pruned):
        keys = {key for file in folder.glob("*.safetensors") for key in load_file(file)}
        assert "embed_out.weight" in keys
    ids = random_tokens(2, 20)
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(pruned).eval()(ids).logits
        torch.testing.assert_close(load(pruned, torch.float32, CPU)(ids).logits, theirs)
