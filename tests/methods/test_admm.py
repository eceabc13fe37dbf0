"""ADMM: the official layers, its iteration in plain spelling, and what its masks owe."""

import pytest
import torch

from meltpoint import methods
from meltpoint.chain import Pattern, Sparsity, parse_step
from meltpoint.errors import MeltpointError
from meltpoint.methods import _admm_masks, admm
from meltpoint.methods._masks import SAMPLE
from meltpoint.model.activation_statistics import Statistics
from meltpoint.model.block_walk import Block
from tests.support.official_layers import (
    is_pattern,
    official_layer,
    official_numbers,
    prune,
    random,
)

# The official code is constant for a layer's sparsity alone, so its 2:4 is one and the same. It
# makes 2:4 of a 4:8; the golden gradual one is a 4:8.
LAYERS = [
    *(("admm", "constant", level) for level in ("0.3", "0.5", "0.7", "2:4")),
    *(("admm_gradual", "gradual", level) for level in ("0.3", "0.5", "0.7", "2:4", "4:8")),
    ("admm_gradual", "constant", "4:8"),
]


@official_numbers
@pytest.mark.parametrize("fixture", "AB")
@pytest.mark.parametrize(("row", "schedule", "level"), LAYERS)
def test_the_official_layers(fixture, row, schedule, level):
    official, weight, inputs = official_layer(fixture, f"{row}|{level}")
    ours = prune(f"admm@{level},schedule={schedule}", weight, inputs)
    differ = (ours == 0) != (official == 0)
    assert differ.float().mean() <= 2e-3
    torch.testing.assert_close(ours[~differ], official[~differ], rtol=1e-3, atol=1e-4)


@official_numbers
@pytest.mark.parametrize("fixture", "AB")
def test_the_official_4_of_8_is_2_of_4(fixture):
    official, weight, inputs = official_layer(fixture, "admm|4:8")
    assert is_pattern(official, Pattern(2, 4))
    ours = prune("admm@2of4", weight, inputs)
    assert ((ours == 0) != (official == 0)).float().mean() <= 2e-3
    true = prune("admm@4of8", weight, inputs)
    assert is_pattern(true, Pattern(4, 8))
    assert not is_pattern(true, Pattern(2, 4))


def plain(weight, inputs, level, settings):
    """The algorithm as it is written, in float64 and with sorts."""
    tokens = inputs.flatten(0, 1).double()
    gram = tokens.T @ tokens
    norm = gram.diagonal().sqrt() + 1e-8
    gram = gram / norm[:, None] / norm
    gram += settings.percdamp * gram.diagonal().mean() * torch.eye(len(gram))
    target = weight.double() * norm
    inverse = torch.linalg.inv(gram + settings.rho * torch.eye(len(gram)))
    current, dual = target, torch.zeros_like(target)
    for t in range(settings.iterations):
        if t < settings.prune_iterations:
            s = level.fraction - level.fraction * (1 - (t + 1) / settings.prune_iterations) ** 3
            if settings.schedule == "constant" and isinstance(level, Sparsity):
                s = level.fraction
            mask = plain_mask((current + dual).abs(), level, s, settings.group)
        kept = (current + dual) * mask
        dual = dual + current - kept
        current = (target @ gram + settings.rho * (kept - dual)) @ inverse
    return ((current + dual) * mask / norm).float()


def plain_mask(metric, level, s, group):
    metric = metric.clone()
    if isinstance(level, Pattern):
        groups = metric.view(-1, level.group)
        groups.scatter_(1, groups.topk(level.kept).indices, torch.inf)
    if group == "row" and isinstance(level, Sparsity):
        count = int(metric.shape[1] * s)
        return metric >= metric.sort(dim=1).values[:, count : count + 1]
    # Rounded, as no pattern's fraction of a float needs to be exact.
    count = (
        round(metric.numel() * s)
        if isinstance(level, Pattern) and s == level.fraction
        else (int(metric.numel() * s))
    )
    return metric >= metric.flatten().sort().values[count]


@pytest.mark.parametrize(
    ("level", "settings"),
    [
        ("0.5", ""),
        ("0.6", ",schedule=gradual"),
        ("0.6", ",schedule=gradual,iterations=7,prune_iterations=4"),
        ("0.4", ",percdamp=0.01,rho=3"),
        ("0.6", ",group=row,schedule=gradual"),
        ("2of4", ""),
        ("5of8", ""),
        ("1of3", ""),
    ],
)
def test_the_iteration_is_the_one_that_is_written(level, settings):
    weight, inputs = random(20, 48), random(4, 40, 48, seed=1) * torch.linspace(0.2, 3, 48)
    step = parse_step(f"admm@{level}{settings}")
    ours = prune(str(step), weight, inputs)
    theirs = plain(weight, inputs, step.level, methods.find("admm").settings(step))
    assert torch.equal(ours == 0, theirs == 0)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_rows_are_gradual_whatever_the_schedule():
    weight, inputs = random(20, 48), random(4, 40, 48, seed=1)
    one, other = (
        prune(f"admm@0.7,group=row,schedule={schedule}", weight, inputs)
        for schedule in ("constant", "gradual")
    )
    assert torch.equal(one, other)
    assert ((one == 0).sum(dim=1) == int(48 * 0.7)).all()
    method = methods.find("admm")
    step = method.canonical(parse_step("admm@0.7,group=row,schedule=gradual"))
    assert str(step) == "admm@0.7,group=row"
    assert method.canonical(parse_step("admm@0.7,schedule=gradual")).settings == "schedule=gradual"


def test_a_mask_that_is_never_finished_is_refused():
    method = methods.find("admm")
    with pytest.raises(MeltpointError, match="prune_iterations must be at most iterations"):
        method.settings(parse_step("admm@0.5,iterations=10"))


@pytest.mark.parametrize("pattern", ["2of4", "4of8", "3of4", "1of4", "5of7", "3of10"])
@pytest.mark.parametrize("dead", [False, True])
def test_every_group_has_its_pattern(pattern, dead):
    level = parse_step(f"admm@{pattern}").level
    weight, inputs = random(30, 280), random(4, 80, 280, seed=1)
    if dead:
        inputs[:, :, ::3] = 0
    assert is_pattern(prune(f"admm@{pattern}", weight, inputs), level)


@pytest.mark.parametrize(
    ("level", "settings"),
    [("0.6", ""), ("0.6", ",schedule=gradual"), ("0.6", ",group=row"), ("2of4", ""), ("4of8", "")],
)
def test_zeros_made_earlier_stay(level, settings):
    weight, inputs = random(24, 32), random(4, 40, 32, seed=1)
    weight[weight.abs() < 0.4] = 0
    pruned = prune(f"admm@{level}{settings}", weight, inputs)
    assert (pruned[weight == 0] == 0).all()
    if level == "0.6":
        # A row with more zeros than asked for keeps them.
        assert (pruned == 0).sum(dim=1).ge(int(32 * 0.6)).all() or ",group" not in settings
        assert (pruned == 0).float().mean() == pytest.approx(0.6, abs=1 / 32)


@pytest.mark.parametrize("pattern", ["2of4", "4of8"])
def test_a_pattern_made_earlier_stays(pattern):
    weight, inputs = random(24, 32), random(4, 40, 32, seed=1)
    once = prune(f"magnitude@{pattern}", weight, inputs)
    again = prune(f"admm@{pattern}", once, inputs)
    assert torch.equal(once == 0, again == 0)
    assert not torch.equal(once, again)


def test_linears_of_one_input_are_pruned_as_if_alone():
    inputs = random(4, 40, 32, seed=1)
    linears = {n: torch.nn.Linear(32, rows, bias=False) for n, rows in (("q", 24), ("k", 8))}
    statistics = Statistics(("hessian",), 32, 4, "cpu")
    statistics.update(inputs)
    alone = {n: prune("admm@0.5", linear.weight.detach(), inputs) for n, linear in linears.items()}
    block = Block(0, 1, None, linears)
    with torch.no_grad():
        admm.compress_block(
            block, dict.fromkeys(linears, statistics), Sparsity(0.5), admm.Settings()
        )
    assert all(torch.equal(alone[name], linears[name].weight) for name in linears)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    weight, inputs = random(24, 32).to(dtype), random(4, 40, 32, seed=1).to(dtype)
    pruned = prune("admm@0.5", weight, inputs)
    assert torch.equal(pruned, prune("admm@0.5", weight.float(), inputs.float()).to(dtype))


@pytest.mark.parametrize("size", [1, 5000, 300_000])
@pytest.mark.parametrize("fraction", [0, 0.3, 0.99999, 1])
@pytest.mark.parametrize("kind", ["distinct", "ties", "periodic"])
def test_the_threshold_is_that_of_a_sort(size, fraction, kind):
    values = random(size).abs()
    if kind == "ties":
        values = (2 * values).round()
    if kind == "periodic":
        # The sample sees one value alone, and brackets nothing.
        values = torch.arange(size) % (size // SAMPLE | 1) / 1.0
    for among in (None, torch.arange(size) % 3 > 0):
        taken = values if among is None else values[among]
        rank = int(len(taken) * fraction)
        expected = taken.sort().values[rank - 1] if rank else -torch.inf
        assert _admm_masks.threshold(values, fraction, among) == expected


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("pattern", [Pattern(2, 4), Pattern(3, 8), Pattern(1, 2)])
def test_groups_keep_their_largest(pattern, ties):
    metric = random(48, 6).abs()
    if ties:
        metric = (2 * metric).round()
    kept = _admm_masks.largest_of_groups(metric, pattern).unflatten(0, (-1, pattern.group))
    groups = metric.unflatten(0, (-1, pattern.group))
    assert (kept.sum(dim=1) == pattern.kept).all()
    least_kept = groups.masked_fill(~kept, torch.inf).amin(dim=1)
    most_removed = groups.masked_fill(kept, -torch.inf).amax(dim=1)
    assert (least_kept >= most_removed).all()
