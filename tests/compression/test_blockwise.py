"""The walk: replayed blocks are the model, statistics are what their formulas say."""

import pytest
import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.model import empty_model
from meltpoint.model.activation_statistics import Collector, Statistics
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load
from meltpoint.model.running import output_of
from tests.support.tiny_models import CONFIGS, random_tokens, save_model

CPU = torch.device("cpu")


@pytest.fixture(params=CONFIGS)
def base(request, tmp_path):
    return save_model(tmp_path / "base", request.param)


def walked(base, batch):
    """The hidden states after all blocks, streamed, and the statistics groups of the last."""
    ids = random_tokens(5, 32)
    walk = Walk(Reader(base, torch.float32, CPU), ids, Compute(device="cpu", batch=batch))
    with torch.no_grad():
        walk.embed()
        for index in range(len(walk.blocks)):
            names = walk.names(index)
            empty_model.fill(walk.model, walk.reader.read(names))
            statistics = walk.collect(index, ("norm",))
            walk.advance(index)
            empty_model.empty(walk.model, names)
    return ids, walk, statistics


def last_hidden(base, ids, batch):
    """What the whole model hands on after its last block."""
    model, found = load(base, torch.float32, CPU), []
    _, blocks = empty_model.decoder_blocks(model)
    blocks[-1].register_forward_hook(lambda m, a, o: found.append(output_of(o)))
    with torch.no_grad():
        for part in ids.split(batch):
            model(part)
    return torch.cat(found)


def test_the_replayed_blocks_are_the_model(base):
    ids, walk, _ = walked(base, batch=2)
    assert torch.equal(walk.hidden, last_hidden(base, ids, batch=2))


def test_the_loaded_model_is_the_model(base):
    from transformers import AutoModelForCausalLM

    ids = random_tokens(3, 40)
    with torch.no_grad():
        attention = empty_model.attention_of(base)
        plain = AutoModelForCausalLM.from_pretrained(base, attn_implementation=attention)
        theirs = plain.eval()(ids).logits
        assert torch.equal(load(base, torch.float32, CPU)(ids).logits, theirs)


def test_linears_of_one_input_share_their_statistics(base):
    _, walk, statistics = walked(base, batch=5)
    inputs = {id(s) for s in statistics.values()}
    # Two of attention, two of the MLP or of each expert.
    experts = {name.rpartition(".")[0] for name in statistics if ".experts." in name}
    assert len(inputs) == 2 + 2 * (len(experts) or 1)
    assert set(statistics) == set(empty_model.linears(walk.blocks[0]))


def test_nothing_stays_loaded(base):
    _, walk, _ = walked(base, batch=5)
    assert all(p.device.type == "meta" for p in walk.model.parameters())


def test_statistics_are_their_formulas():
    inputs = torch.randn(7, 9, 12)
    statistics = Statistics(("norm", "hessian"), 12, 7, CPU)
    for part in inputs.split(3):
        statistics.update(part)
    flat = inputs.double().flatten(0, 1)
    expected = (flat**2).sum(0) / 7
    torch.testing.assert_close(statistics.norm.double(), expected, rtol=1e-5, atol=1e-5)
    expected = 2 / 7 * flat.T @ flat
    torch.testing.assert_close(statistics.hessian.double(), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(AttributeError, match="moments was not collected"):
        _ = statistics.moments


def test_the_inputs_are_left_as_they_are():
    inputs = torch.randn(2, 3, 4)
    kept = inputs.clone()
    Statistics(("norm", "hessian"), 4, 2, CPU).update(inputs)
    assert torch.equal(inputs, kept)


def test_one_listener_for_each_input():
    first, second, third = (torch.nn.Linear(4, 4) for _ in range(3))
    collector = Collector({"a": first, "b": second, "c": third}, ("norm",), 2)
    for _ in range(2):
        x = torch.randn(1, 3, 4)
        with collector.forward_pass(1):
            first(x), second(x), third(x.clone())
    assert collector.statistics["a"] is collector.statistics["b"]
    assert collector.statistics["a"] is not collector.statistics["c"]
    torch.testing.assert_close(collector.statistics["a"].norm, collector.statistics["c"].norm)


def test_overflow_is_one_sentence(tmp_path):
    base = save_model(tmp_path / "base", "llama")
    walk = Walk(Reader(base, torch.float32, CPU), random_tokens(2, 8), Compute(device="cpu"))
    with torch.no_grad():
        walk.embed()
        empty_model.fill(walk.model, walk.reader.read(walk.names(0)))
        walk.hidden.fill_(float("inf"))
        with pytest.raises(MeltpointError, match=r"block 0 are not finite.*compute\.dtype"):
            walk.collect(0, ("norm",))


def test_a_block_runs_with_other_weights_and_gradients_reach_them(tmp_path):
    base = save_model(tmp_path / "base", "llama")
    walk = Walk(Reader(base, torch.float32, CPU), random_tokens(3, 8), Compute(device="cpu"))
    with torch.no_grad():
        walk.embed()
        empty_model.fill(walk.model, walk.reader.read(walk.names(0)))
        batch = slice(0, 3)
        name, linear = next(iter(empty_model.linears(walk.blocks[0]).items()))
        plain = walk.forward(0, batch)
        with torch.enable_grad():
            scale = torch.ones((), requires_grad=True)
            same = walk.forward(0, batch, {name: linear.weight * scale})
            same.square().sum().backward()
        other = walk.forward(0, batch, {name: torch.zeros_like(linear.weight)})
    torch.testing.assert_close(same.detach(), plain)
    assert scale.grad.abs() > 0
    assert not torch.allclose(other, plain)
    torch.testing.assert_close(walk.forward(0, batch), plain)


def test_the_dense_models_outputs_are_kept_beside(tmp_path):
    """Whatever becomes of the blocks before, they are those of the model as it was."""
    base = save_model(tmp_path / "base", "llama")
    walk = Walk(Reader(base, torch.float32, CPU), random_tokens(3, 8), Compute(device="cpu"))
    with torch.no_grad():
        walk.embed()
        dense = walk.hidden.clone()
        for index in range(2):
            empty_model.fill(walk.model, walk.reader.read(walk.names(index)))
            dense = walk.forward(index, slice(0, 3), inputs=dense)
            walk.advance_dense(index)
            for linear in empty_model.linears(walk.blocks[index]).values():
                linear.weight.zero_()
            walk.advance(index)
    torch.testing.assert_close(walk.dense, dense)
    assert not torch.allclose(walk.hidden, dense)


@pytest.mark.parametrize("family", ["llama", "opt", "bloom"])
def test_linears_of_one_input_in_the_order_in_which_they_run(family, tmp_path):
    base = save_model(tmp_path / "base", family)
    walk = Walk(Reader(base, torch.float32, CPU), random_tokens(3, 8), Compute(device="cpu"))
    with torch.no_grad():
        walk.embed()
        empty_model.fill(walk.model, walk.reader.read(walk.names(0)))
        groups = walk.input_groups(0)
    assert sorted(name for group in groups for name in group) == sorted(
        empty_model.linears(walk.blocks[0])
    )
    assert len(groups) == 4
    if family == "llama":
        assert [sorted(n.split(".")[1][0] for n in g) for g in groups] == [
            ["k", "q", "v"], ["o"], ["g", "u"], ["d"]
        ]  # fmt: skip
