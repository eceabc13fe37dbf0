"""RIA: the official layers, and what its masks, orders and updates owe."""

import itertools
import subprocess
import sys

import pytest
import torch

from meltpoint import methods
from meltpoint.chain import Pattern, parse_step
from meltpoint.errors import MeltpointError
from meltpoint.methods import _ria_channels as channels
from meltpoint.methods import ria, sparsegpt
from tests.support.official_layers import (
    is_pattern,
    official_layer,
    official_numbers,
    prune,
    random,
)

# The rows of the official codes' numbers, and the settings that give them.
ROWS = {
    "ria": "",
    "ria_row": ",group=row",
    "ria_rec": ",reconstruct=true",
    "ria_realloc": ",reallocate=true",
}
LAYERS = [
    *((row, level) for row in ("ria", "ria_row", "ria_rec") for level in ("0.3", "0.5", "0.7")),
    *((row, level) for row in ("ria", "ria_realloc") for level in ("2:4", "4:8")),
]


@official_numbers
@pytest.mark.parametrize("fixture", "AB")
@pytest.mark.parametrize(("row", "level"), LAYERS)
def test_the_official_layers(fixture, row, level):
    official, weight, inputs = official_layer(fixture, f"{row}|{level}")
    ours = prune(f"ria@{level}{ROWS[row]}", weight, inputs)
    differ = (ours == 0) != (official == 0)
    assert differ.float().mean() <= 1e-4
    torch.testing.assert_close(ours[~differ], official[~differ], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", ["", ",group=row", ",reconstruct=true"])
def test_a_row_and_a_column_of_zeros_have_no_importance(settings):
    weight, inputs = random(8, 16), random(2, 30, 16, seed=1)
    weight[3], weight[:, 5], inputs[:, :, 7] = 0, 0, 0
    assert ria.relative_importance(weight).isfinite().all()
    pruned = prune(f"ria@0.5{settings}", weight, inputs)
    assert pruned.isfinite().all()
    assert not pruned[3].any()
    assert not pruned[:, 5].any()
    assert not pruned[:, 7].any()
    assert (pruned[[0, 1, 2, 4, 5, 6, 7]] != 0).any(dim=1).all()


def test_settings_without_effect_are_idle():
    def canonical(spelling):
        return str(methods.find("ria").canonical(parse_step(spelling)))

    assert canonical("ria@0.5,percdamp=0.1,importance=retained,lsa_blocks=4") == "ria@0.5"
    for spelling in (
        "ria@0.5,group=row",
        "ria@0.5,percdamp=0.1,reconstruct=true",
        "ria@2of4,importance=retained,reallocate=true",
        "ria@2of4,lsa=true,lsa_blocks=4",
    ):
        assert canonical(spelling) == spelling


def test_the_hessian_is_collected_for_the_reconstruction_alone():
    assert ria.statistics(ria.Settings()) == ("norm",)
    assert ria.statistics(ria.Settings(reconstruct=True)) == ("norm", "hessian")


def test_the_importance_has_the_power_alpha_of_the_norm():
    weight, inputs = random(8, 16), random(2, 30, 16, seed=1) * torch.arange(1, 17)
    plain, ours = (prune(f"ria@0.5,alpha={alpha}", weight, inputs) for alpha in (0, 2))
    norm = inputs.flatten(0, 1).square().sum(0) / 2
    for pruned, metric in (
        (plain, ria.relative_importance(weight)),
        (ours, ria.relative_importance(weight) * norm),
    ):
        assert metric[pruned == 0].max() < metric[pruned != 0].min()


def test_channels_are_dealt_out_in_a_snake():
    order = channels.deal_out(torch.tensor([30.0, 0, 10, 70, 20, 60, 50, 40]), 4)
    assert order.tolist() == [1, 0, 7, 3, 2, 4, 6, 5]


@pytest.mark.parametrize("importance", ["sum", "retained"])
@pytest.mark.parametrize("lsa", ["false", "true"])
def test_the_pattern_is_that_of_the_dealt_channels(importance, lsa):
    weight, inputs = random(24, 32), random(2, 30, 32, seed=1) * torch.arange(1, 33)
    pruned = prune(f"ria@2of4,reallocate=true,importance={importance},lsa={lsa}", weight, inputs)
    settings = ria.Settings(reallocate=True, importance=importance, lsa=lsa)
    norm = inputs.flatten(0, 1).square().sum(0) / 2
    metric = ria.relative_importance(weight) * norm**0.25
    order = channels.arrange(metric, Pattern(2, 4), settings)
    assert order.sort().values.tolist() == list(range(32))
    assert is_pattern(pruned[:, order], Pattern(2, 4))
    assert not is_pattern(pruned, Pattern(2, 4))


def retained(metric, order, pattern):
    groups = metric[:, order].unflatten(1, (-1, pattern.group))
    return groups.topk(pattern.kept, dim=2).values.sum().item()


@pytest.mark.parametrize("blocks", [1, 3, 100])
@pytest.mark.parametrize("pattern", [Pattern(2, 4), Pattern(3, 4), Pattern(1, 4), Pattern(4, 8)])
def test_assignment_retains_more(pattern, blocks):
    pytest.importorskip("scipy")
    metric = random(16, 64).abs() * torch.linspace(0.1, 2, 64)
    for order in (torch.arange(64), channels.deal_out(metric.sum(0), pattern.group)):
        better = channels.assign(metric, order, pattern, blocks)
        assert better.sort().values.tolist() == list(range(64))
        before, after = (retained(metric, o, pattern) for o in (order, better))
        # One group to a block: nothing to assign.
        assert after == before if blocks == 100 else after > before


@pytest.mark.parametrize("pattern", [Pattern(1, 3), Pattern(2, 3)])
def test_assignment_is_the_best_for_each_slot(pattern):
    pytest.importorskip("scipy")
    # So many rows that no two assignments retain the same.
    metric = random(40, 12).abs()
    best = torch.arange(12).view(4, 3)
    for slot in range(3):
        tried = []
        for permutation in itertools.permutations(range(4)):
            order = best.clone()
            order[:, slot] = best[list(permutation), slot]
            tried.append(order)
        best = max(tried, key=lambda order: retained(metric, order.flatten(), pattern))
    ours = channels.assign(metric, torch.arange(12), pattern)
    assert ours.tolist() == best.flatten().tolist()


@pytest.mark.parametrize("level", ["0.6", "2of4"])
@pytest.mark.parametrize("settings", ["", ",group=row", ",reconstruct=true", ",reallocate=true"])
def test_zeros_made_earlier_stay(level, settings):
    weight, inputs = random(24, 32), random(4, 30, 32, seed=1)
    weight[weight.abs() < 0.4] = 0
    pruned = prune(f"ria@{level}{settings}", weight, inputs)
    assert (pruned[weight == 0] == 0).all()
    if level == "0.6":
        assert (pruned == 0).float().mean() == pytest.approx(0.6, abs=1 / 32)


def test_zeros_made_earlier_are_the_first_to_count():
    """Also where dead inputs leave other weights without importance."""
    weight, inputs = random(24, 32), random(4, 30, 32, seed=1)
    inputs[:, :, 0::4] = inputs[:, :, 1::4] = 0
    weight[:, 2::4] = weight[:, 3::4] = 0
    assert is_pattern(prune("ria@2of4", weight, inputs), Pattern(2, 4))


def test_the_reconstruction_updates_with_the_mask_as_it_is():
    weight, inputs = random(24, 32), random(4, 30, 32, seed=1)
    plain, updated = (
        prune("ria@0.5", weight, inputs),
        prune("ria@0.5,reconstruct=true", weight, inputs),
    )
    assert torch.equal(plain == 0, updated == 0)
    outputs = inputs.flatten(0, 1) @ weight.T
    error, less = ((inputs.flatten(0, 1) @ w.T - outputs).square().sum() for w in (plain, updated))
    assert less < error


def test_the_reconstruction_damps_more_where_it_must():
    weight, values = random(8, 16), torch.linspace(0.5, 1.5, 16)
    values[0] = -0.05
    basis = torch.linalg.qr(random(16, 16, seed=1)).Q
    hessian = basis @ torch.diag(values) @ basis.T
    removed = [weight.abs() < 0.5]
    with pytest.raises(MeltpointError):
        sparsegpt.update([weight], hessian, removed, 0.01)
    (ours,) = ria.reconstruct([weight], hessian, removed, 0.01)
    (damped,) = sparsegpt.update([weight], hessian, removed, 0.1)
    assert torch.equal(ours, damped)
    with pytest.raises(MeltpointError):
        ria.reconstruct([weight], hessian, removed, 0.001)


@pytest.mark.parametrize("settings", ["", ",reconstruct=true"])
def test_half_precision(settings):
    weight, inputs = random(24, 32).half(), random(4, 30, 32, seed=1).half()
    pruned = prune(f"ria@0.5{settings}", weight, inputs)
    assert pruned.dtype == torch.float16
    full = prune(f"ria@0.5{settings}", weight.float(), inputs.float())
    torch.testing.assert_close(pruned.float(), full, rtol=1e-3, atol=1e-3)


def test_the_method_is_known_without_scipy():
    code = (
        "import sys; sys.modules['scipy'] = None\n"
        "from meltpoint.methods import find\n"
        "find('ria').settings_class()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
