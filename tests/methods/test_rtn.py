"""Round-to-nearest: its grids in plain spelling, what they owe, chains with pruning, sizes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.linears import Quantized
from meltpoint.compression.step import check_level, compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations.size import size
from meltpoint.methods import rtn
from tests.support.specs import compress_spec
from tests.support.steps import linear_names, weights
from tests.support.tiny_models import random_tokens, save_model

GRIDS = [(b, g, s) for b in (8, 4, 3, 2) for g in (-1, 16, 40) for s in (False, True)]


def random(rows=12, columns=100, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def scale_of(group, bits, symmetric):
    """The scale of a group of weights (an array) as it is stored, and its zero point."""
    low, high = min(0.0, group.min()), max(0.0, group.max())
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    scale = max(np.float32(np.float16(np.float32(high - low) / (2**bits - 1))), np.float32(2**-24))
    return scale, 2 ** (bits - 1) if symmetric else min(np.rint(-low / scale), 2**bits - 1)


def reference(weight, bits, group_size, symmetric):
    """The grids as they are written down, a row and a group at a time."""
    found = weight.numpy().astype(np.float32).copy()
    width = found.shape[1] if group_size == -1 else group_size
    for row in found:
        for start in range(0, len(row), width):
            group = row[start : start + width]
            scale, zero = scale_of(group, bits, symmetric)
            codes = np.clip(np.rint(group / scale) + zero, 0, 2**bits - 1)
            group[:] = (codes - zero) * scale
    return torch.from_numpy(found)


@pytest.mark.parametrize(("bits", "group_size", "symmetric"), GRIDS)
def test_the_grids_are_those_of_a_plain_loop(bits, group_size, symmetric):
    """100 columns in groups of 40: the last is of 20."""
    weight = random()
    weight[0] = 0
    weight[1] = 0.3
    weight[2] = -0.3
    weight[3] = weight[3].abs() + 1
    weight[4, :50] = 0
    ours = rtn.quantize(weight, bits, group_size, symmetric)
    assert torch.equal(ours, reference(weight, bits, group_size, symmetric))


@pytest.mark.parametrize(("bits", "group_size", "symmetric"), GRIDS)
def test_no_weight_is_off_by_more_than_half_a_step(bits, group_size, symmetric):
    weight = random(seed=1)
    ours = rtn.quantize(weight, bits, group_size, symmetric)
    width = 100 if group_size == -1 else group_size
    for part, rounded in zip(weight.split(width, 1), ours.split(width, 1), strict=True):
        for group, values in zip(part.numpy(), rounded, strict=True):
            assert len(values.unique()) <= 2**bits
            scale, _ = scale_of(group, bits, symmetric)
            # The scale is off by up to 2^-11 of itself, and the largest code by so many times that.
            error = np.abs(values.numpy() - group).max()
            assert error <= scale * (0.5 + (2**bits - 1) * 2**-11)


def test_rows_of_one_value():
    weight = torch.tensor([[0.0] * 8, [0.25] * 8, [-0.25] * 8, [1e-9] * 8])
    for bits in rtn.bits:
        ours = rtn.quantize(weight, bits, -1, False)
        torch.testing.assert_close(ours[:3], weight[:3], rtol=2**-11, atol=0)
        assert (ours[3] == 0).all()
        symmetric = rtn.quantize(weight, bits, -1, True)
        assert (symmetric[0] == 0).all()
        # The middle of a symmetric grid is zero, its upper end half a step below the maximum.
        step = 2 * 0.25 / (2**bits - 1)
        torch.testing.assert_close(symmetric[1], weight[1] - step / 2, rtol=2**-10, atol=0)


def test_eight_bits_lose_next_to_nothing():
    weight = random(64, 256)
    for group_size, symmetric in ((-1, False), (-1, True), (128, False), (32, True)):
        error = (rtn.quantize(weight, 8, group_size, symmetric) - weight).norm() / weight.norm()
        assert error < 0.01


def test_fewer_columns_to_a_scale_are_nearer():
    weight = random(64, 512)
    errors = [(rtn.quantize(weight, 3, g, False) - weight).norm() for g in (16, 64, 128, -1)]
    assert errors == sorted(errors)


def canonical(text):
    step = parse_step(text)
    return str(methods.find(step.method).canonical(step))


def test_one_spelling():
    assert canonical("rtn@4bit,group_size=128,symmetric=false") == "rtn@4bit"
    assert canonical("rtn@4bit,group_size=0") == "rtn@4bit,group_size=-1"
    with pytest.raises(MeltpointError, match="setting group_size: must be at least"):
        canonical("rtn@4bit,group_size=-2")


def test_widths_that_are_not_taken():
    with pytest.raises(MeltpointError, match="no quantization method takes 1 bits; rtn takes 2, 3"):
        methods.find("rtn").check_level(parse_step("rtn@1bit").level)
    with pytest.raises(MeltpointError, match=r"rtn@0\.5: no quantization method takes this level"):
        methods.find("rtn").check_level(parse_step("rtn@0.5").level)


def test_a_width_that_only_others_of_the_kind_take_is_not_applicable(monkeypatch):
    method = methods.find("rtn")
    fewer = replace(method, facts=method.facts.model_copy(update={"bits": (3, 4, 8)}))
    monkeypatch.setitem(methods.registry(), "rtn", fewer)
    check_level(parse_step("rtn@4bit"))
    with pytest.raises(NotApplicable, match="rtn takes 3, 4 or 8 bits, not 2"):
        check_level(parse_step("rtn@2bit"))


def test_the_bits_of_scales_and_zero_points():
    assert Quantized(4, 128, False).overhead(10, 256) == 10 * 2 * 20
    assert Quantized(4, 128, False).overhead(10, 257) == 10 * 3 * 20
    assert Quantized(3, 128, True).overhead(10, 64) == 10 * 16
    assert Quantized(8, -1, False).overhead(10, 1000) == 10 * 24


# --- chains ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rtn")
    np.save(folder / "windows.npy", random_tokens(6, 48).numpy())
    save_model(folder / "dense", "llama", hidden_size=128, intermediate_size=300)
    return folder


def made(place, chain):
    """The checkpoint of a chain, made with those that it is built on; 16 bit."""
    target = place / chain
    if not target.exists():
        parent, _, last = chain.rpartition("+")
        step = parse_step(last)
        settings = methods.find(step.method).settings(step)
        windows = {"windows": {"file": "x"}} if settings.calibrated else {}
        spec = compress_spec(last, settings.model_dump(mode="json") | windows, chain)
        source = made(place, parent) if parent else place / "dense"
        compute = Compute(device="cpu", dtype="float16")
        compress(source, target, spec, [place / "windows.npy"], compute)
    return target


def linear_bits(target):
    """The bits of a weight of the linears, all else being stored in 16."""
    counts, found = size(target), weights(target)
    linears = sum(found[name].numel() for name in linear_names(target))
    return (counts["bits_per_weight"] * counts["parameters"] - 16 * counts["parameters"]) / (
        linears
    ) + 16


def scales(target, bits, group_size):
    """What scales and zero points add to a weight."""
    shapes = [weights(target)[name].shape for name in linear_names(target)]
    groups = sum(rows * math.ceil(columns / group_size) for rows, columns in shapes)
    return groups * bits / sum(rows * columns for rows, columns in shapes)


@pytest.mark.parametrize(
    ("chain", "bits", "scale", "group_size"),
    [
        ("rtn@4bit", 4, 20, 128),
        ("rtn@2bit", 2, 18, 128),
        ("rtn@3bit,symmetric=true", 3, 16, 128),
        ("rtn@8bit,group_size=-1", 8, 24, 10**6),
        ("rtn@8bit+rtn@4bit", 4, 20, 128),
        ("wanda@0.75+rtn@4bit", 0.25 * 4 + 1, 20, 128),
        ("wanda@0.25+rtn@2bit", 2, 18, 128),
        ("rtn@4bit+wanda@0.75", 0.25 * 4 + 1, 20, 128),
    ],
)
def test_size_counts_codes_scales_and_masks(place, chain, bits, scale, group_size):
    target = made(place, chain)
    expected = bits + scales(target, scale, group_size)
    assert linear_bits(target) == pytest.approx(expected, abs=0.002)


def test_weights_that_left_the_grid_are_dense_numbers_again(place):
    assert linear_bits(made(place, "rtn@4bit+sparsegpt@0.75")) == pytest.approx(5, abs=0.1)


def test_bytes_are_those_of_the_files_less_what_codes_spare(place):
    pruned, quantized = (made(place, chain) for chain in ("wanda@0.25", "rtn@4bit"))
    linears = [weights(quantized)[n] for n in linear_names(place / "dense")]
    bits = sum(w.numel() * 12 - len(w) * math.ceil(w.shape[1] / 128) * 20 for w in linears)
    files = [
        sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        for folder in (pruned, quantized)
    ]
    assert size(pruned)["bytes"] == files[0]
    assert size(quantized)["bytes"] == files[1] - bits // 8
    assert size(quantized)["parameters"] == size(pruned)["parameters"]


def description(place, chain):
    return Description.read(made(place, chain))


def test_zeros_of_rounding_are_no_sparsity_until_a_pruning_step_counts_them(place):
    # One of the random weights is zero in float16.
    alone, own = description(place, "rtn@4bit"), pytest.approx(0, abs=1e-5)
    assert alone.requested == {"bits": 4}
    assert alone.achieved.zeros == own
    assert 0.1 < alone.rounded < 0.3
    after = description(place, "wanda@0.5+rtn@2bit")
    assert after.requested == {"zeros": 0.5, "bits": 2}
    assert after.achieved.zeros == description(place, "wanda@0.5").achieved.zeros
    assert 0 < after.rounded < 0.5
    # 0.5 of the weights are gone, those that rounding had taken among them.
    pruned = description(place, "rtn@4bit+wanda@0.5")
    assert pruned.requested == {"bits": 4, "zeros": 0.5}
    assert pruned.achieved.zeros == pytest.approx(0.5, abs=0.01)
    assert pruned.rounded == pruned.zeros_lost == 0
    twice = description(place, "rtn@4bit+rtn@2bit")
    assert twice.achieved.zeros == own
    assert twice.rounded > alone.rounded


def test_bits_are_codes_and_scales_whatever_is_zero(place):
    """rtn: 16 bits of scale and a zero point for each row of at most 128 columns."""
    linears = Description.read(place / "dense").linears.values()
    for chain, bits in (("rtn@4bit", 4), ("wanda@0.5+rtn@2bit", 2)):
        overhead = sum(x.shape[0] * math.ceil(x.shape[1] / 128) * (16 + bits) for x in linears)
        count = sum(x.count for x in linears)
        assert description(place, chain).achieved.bits == pytest.approx(bits + overhead / count)
    assert description(place, "wanda@0.5").achieved.bits == 16


def test_what_rounding_has_passed_already_cannot_be_pruned_to(place):
    refused = description(place, "rtn@2bit+wanda@0.3")
    share = description(place, "rtn@2bit").rounded
    assert refused.status == "not_applicable"
    assert f"{share:.3f} sparse already ({share:.3f} by rounding)" in refused.reason


def test_a_finer_grid_keeps_a_coarser_one(place):
    """What is on three levels a group stays where it is: the range has not changed."""
    coarse, fine = "rtn@2bit,symmetric=true", "rtn@2bit,symmetric=true+rtn@8bit"
    before, after = weights(made(place, coarse)), weights(made(place, fine))
    for name in linear_names(place / "dense"):
        torch.testing.assert_close(after[name], before[name], rtol=0.01, atol=1e-4)
    stored = {linear.stored for linear in description(place, fine).linears.values()}
    assert stored == {Quantized(8, 128, symmetric=False)}
