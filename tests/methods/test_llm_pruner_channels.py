"""LLM-Pruner's channel-wise structure: its scores, what it cuts, and what it refuses."""

import pytest
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compression.search import read_result
from tests.support.unit_chains import WINDOWS, Chains

CHANNELWISE = "structure=channelwise"
# Linears that write to the residual stream.
WRITERS = ("o_proj", "self_attn.out_proj", "down_proj", "fc2", "project_in")
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "opt")


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    return Chains(tmp_path_factory.mktemp("llm-pruner-channels"))


def searched(chains, step, family):
    folder = chains.made(family, step)
    return torch.from_numpy(read_result(folder.with_name(f"{folder.name}-search.npz"))["channels"])


def importance_of(name, weight, gradients):
    """Importance of each entry of a weight, by the gradients of the windows [windows, *weight]."""
    first, second = gradients.mean(0), gradients.square().mean(0)
    return {
        "param_first": lambda: (weight * first).abs(),
        "param_second": lambda: (weight * second * weight).abs(),
        "param_mix": lambda: (weight * first - weight * second * weight / 2).abs(),
        "l1": lambda: weight.abs(),
        "l2": lambda: weight.square(),
    }[name]()


def channels_by_autograd(model, name):
    """Sum over all weights of the residual stream, by one backward pass a window of the whole model."""
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    weights = dict(model.named_parameters())
    for weight in weights.values():
        weight.requires_grad_()
    gradients = {path: [] for path in weights}
    for window in WINDOWS:
        logits = model(window[None], use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, window[1:])
        found = torch.autograd.grad(loss, list(weights.values()))
        for path, gradient in zip(weights, found, strict=True):
            gradients[path].append(gradient)
    # The linears between narrow embeddings and the stream take the place of embeddings and head.
    narrow = any("project_in" in path for path in weights)
    passed = ["bias", "embed_positions", *(["embed_tokens", "lm_head"] if narrow else [])]
    members = []
    for path, weight in weights.items():
        if any(part in path for part in passed):
            continue
        scores = importance_of(name, weight.detach(), torch.stack(gradients[path]))
        writes = any(part in path for part in WRITERS)
        members.append(scores if scores.dim() == 1 else scores.sum(1 if writes else 0))
    return torch.stack(members)


@pytest.mark.parametrize(
    ("family", "importance"),
    [
        *[("llama", name) for name in ("param_first", "param_second", "param_mix", "l1", "l2")],
        ("qwen2", "param_first"),
        ("opt", "param_mix"),
    ],
)
def test_scores_are_those_of_the_whole_models_gradients(family, importance, chains):
    step = f"llm_pruner@0.5,{CHANNELWISE},importance={importance}"
    members = channels_by_autograd(chains.model(family), importance)
    expected = members.mean(0) if importance in ("l1", "l2") else members.sum(0)
    torch.testing.assert_close(searched(chains, step, family), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_channels_go_everywhere(family, chains):
    """The smaller model computes what the dense model does with the channels taken out by hand."""
    step = f"llm_pruner@0.3,{CHANNELWISE}"
    scores = searched(chains, step, family)
    width = len(scores)
    kept = scores.argsort(stable=True)[width - int(width * 0.7) :].sort().values
    dense, ours = chains.model(family).state_dict(), chains.model(family, step).state_dict()
    assert ours.keys() == dense.keys()
    for path, tensor in ours.items():
        expected = dense[path]
        for axis, (before, after) in enumerate(zip(expected.shape, tensor.shape, strict=True)):
            if before != after:
                assert (before, after) == (width, len(kept)), path
                expected = expected.index_select(axis, kept)
        assert torch.equal(tensor, expected), path
    assert chains.logits(family, step).isfinite().all()


def test_a_llama_stays_an_ordinary_folder(chains):
    shapes = Description.read(chains.made("llama", f"llm_pruner@0.3,{CHANNELWISE}")).shapes
    assert shapes.irregular is None
    assert {block.width for block in shapes.blocks} == {44}


@pytest.mark.parametrize("more", ["", ",importance=l2", ",steps=2"])
def test_of_parameters(more, chains):
    step = f"llm_pruner@0.4,of=parameters,{CHANNELWISE}{more}"
    assert chains.achieved("llama", step) == pytest.approx(0.4, abs=0.01)


def test_later_steps_reach_the_same_width(chains):
    step = f"llm_pruner@0.6,{CHANNELWISE}"
    once, twice = (
        Description.read(chains.made("llama", f"{step}{more}")).shapes for more in ("", ",steps=2")
    )
    assert [b.width for b in once.blocks] == [b.width for b in twice.blocks]


@pytest.mark.parametrize("other", ["wanda@0.5", "sparsegpt@0.5", "rtn@4bit", "flap@0.3"])
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_chains_before_and_after(other, family, chains):
    step = f"llm_pruner@0.5,{CHANNELWISE}"
    for chain in (f"{step}+{other}", f"{other}+{step}"):
        description = Description.read(chains.made(family, chain))
        assert description.zeros_lost == 0
        assert chains.logits(family, chain).isfinite().all()


def test_what_cannot_be_done_does_not_apply(chains):
    reason = chains.reason("llama", f"slicegpt@0.3+llm_pruner@0.5,{CHANNELWISE}")
    assert "block 3 sends the residual stream through matrices of an earlier step" in reason
    reason = chains.reason("llama", f"llm_pruner@0.001,of=parameters,{CHANNELWISE}")
    assert reason == "llm_pruner@0.001 removes none of 64 channels"


def test_settings_of_units_do_nothing():
    step = parse_step(f"llm_pruner@0.5,{CHANNELWISE},scope=global,expand_kv=true")
    assert str(methods.find("llm_pruner").canonical(step)) == f"llm_pruner@0.5,{CHANNELWISE}"
