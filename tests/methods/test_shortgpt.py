"""ShortGPT: influences and angles as transformers' hidden states give them, and what is removed."""

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.methods import _shortgpt_influence, shortgpt
from meltpoint.methods.contract import Context
from meltpoint.model.load import load
from tests.support.block_chains import (
    CPU,
    WINDOWS,
    BlockPasses,
    deep_model,
    reason,
    run_chain,
    searched,
)
from tests.support.steps import weights

CONTEXT = Context(WINDOWS, Compute(device="cpu", batch=2))


@torch.no_grad()
def hidden_states(folder):
    """Hidden states at all borders in float64, and the last one's behind the final norm."""
    model, last = load(folder, torch.float32, CPU), []
    body = getattr(model.base_model, "decoder", model.base_model)
    body.layers[-1].register_forward_hook(lambda _, args, output: last.append(output))
    states = model(WINDOWS, output_hidden_states=True, use_cache=False).hidden_states
    output = last[0][0] if isinstance(last[0], tuple) else last[0]
    return [x.double() for x in (*states[:-1], output)], states[-1].double()


def turn(before, after):
    """1 - cosine of the hidden states of each token [windows, tokens]; a half where there is none."""
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=-1)
    # The embedding of the padding token is zero.
    return 1 - torch.where((before == 0).all(dim=-1), 0.5, cosine)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "opt", "gemma2"])
def test_influences_are_those_of_the_hidden_states(family, tmp_path):
    base = deep_model(tmp_path, family)
    found = _shortgpt_influence.measure(base, CONTEXT)
    states, normed = hidden_states(base)
    expected = [turn(*pair).mean().item() for pair in pairwise(states)]
    assert found["influences"] == pytest.approx(expected, rel=1e-4)
    assert found["influence_with_norm"] == pytest.approx(
        turn(states[-2], normed).mean().item(), rel=1e-4
    )


def test_angles_are_those_of_the_last_tokens(tmp_path):
    base = deep_model(tmp_path)
    found = _shortgpt_influence.measure(base, CONTEXT)
    ends = [state[:, -1] for state in hidden_states(base)[0]]
    assert [len(angles) for angles in found["angles"]] == [8, 7, 6, 5, 4, 3, 2]
    for count, angles in enumerate(found["angles"], start=1):
        for start, angle in enumerate(angles):
            cosine = 1 - turn(ends[start], ends[start + count])
            expected = (cosine.arccos() / math.pi).mean().item()
            assert angle == pytest.approx(expected, rel=1e-3)


def test_it_is_one_pass(monkeypatch, tmp_path):
    base = deep_model(tmp_path)
    passes = BlockPasses(monkeypatch, len(WINDOWS))
    _shortgpt_influence.measure(base, CONTEXT)
    assert passes.count == 8


def test_a_cosine_with_nothing_is_a_half():
    first, second = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 1.0], [-2.0, 0.0]])
    assert _shortgpt_influence.cosine(first, second).tolist() == [0.5, -1.0]


def kept_blocks(base, folder):
    """Indices of the base model's blocks that a checkpoint holds."""
    name = "model.layers.{}.mlp.down_proj.weight"
    before, after = weights(base), weights(folder)
    count = len(Description.read(folder).shapes.blocks)
    return [
        next(i for i in range(8) if torch.equal(after[name.format(n)], before[name.format(i)]))
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("level", "count"), [("0.125", 1), ("0.24", 1), ("0.3", 2), ("0.5", 4), ("0.99", 7)]
)
def test_the_least_influential_blocks_go_in_one_shot(level, count, tmp_path):
    base = deep_model(tmp_path)
    folder = run_chain(base, f"shortgpt@{level}")
    influences = searched(folder)["influences"]
    removed = sorted(range(8), key=influences.__getitem__)[:count]
    assert kept_blocks(base, folder) == [i for i in range(8) if i not in removed]


def test_angular_removes_consecutive_blocks_where_the_angle_is_smallest(tmp_path):
    base = deep_model(tmp_path)
    folder = run_chain(base, "shortgpt@0.4,angular=true")
    angles = searched(folder)["angles"][2]
    start = angles.index(min(angles))
    assert kept_blocks(base, folder) == [i for i in range(8) if not start <= i < start + 3]


FOUND = {"influences": [0.3, 0.2, 0.2, 0.1], "influence_with_norm": 0.4, "angles": []}


@pytest.mark.parametrize(
    ("order_study", "expected"),
    [(False, [[], [3], [3, 1], [3, 1, 2]]), (True, [[], [1], [1, 2], [1, 2, 0]])],
)
def test_the_order_study_measures_the_last_block_against_a_normed_state(order_study, expected):
    settings = shortgpt.Settings(order_study=order_study)
    assert shortgpt._lowest(FOUND, settings) == expected


def test_all_levels_and_variants_read_one_search():
    method = methods.find("shortgpt")
    steps = ("shortgpt@0.2", "shortgpt@0.5,angular=true", "shortgpt@0.5,order_study=true")
    assert {str(method.search_step(parse_step(step))) for step in steps} == {"shortgpt"}


@pytest.mark.parametrize("variant", ["", ",angular=true", ",order_study=true"])
def test_of_parameters_is_the_nearest_number_of_blocks(variant, tmp_path):
    folder = run_chain(deep_model(tmp_path), f"shortgpt@0.2,of=parameters{variant}")
    assert Description.read(folder).achieved.parameters == pytest.approx(0.25)


def test_what_it_cannot_do_is_a_sentence(tmp_path):
    base = deep_model(tmp_path)
    assert reason(base, "shortgpt@0.1") == "shortgpt@0.1 removes 0 of 8 blocks"
    assert reason(deep_model(tmp_path, blocks=1), "shortgpt@0.9") == (
        "shortgpt@0.9 removes 0 of 1 blocks"
    )
    with pytest.raises(ValidationError, match="two variants"):
        shortgpt.Settings(angular=True, order_study=True)
    with pytest.raises(MeltpointError, match="angular and order_study are two variants"):
        methods.find("shortgpt").settings(parse_step("shortgpt@0.5,angular=true,order_study=true"))
