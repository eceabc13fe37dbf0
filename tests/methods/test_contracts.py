"""What every registered method owes: found from the registry, so a new file is tested too.

`CONTRACTS` says it by kind. No method is named here: what sets one apart is declared in its file.
"""

import hashlib
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from meltpoint.chain import Bits, Pattern, Sparsity, parse_level
from meltpoint.checkpoints.description import COST, Description
from meltpoint.checkpoints.formats import format_of
from meltpoint.evaluations.size import size
from meltpoint.model.load import load
from tests.support.contract_steps import (
    FAMILIES,
    MAGNITUDE,
    METHODS,
    PACKED,
    ROUNDING,
    calibrated,
    first,
)
from tests.support.contracts import CONTRACTS, Case, most_levels
from tests.support.steps import SHAPE_KINDS, linear_names, run, spell, spellings, weights
from tests.support.tiny_models import random_tokens, save_model

# Stored by other names or in other parts than the model's linears: experts, transposed weights.
CONVERTED = ("mixtral", "qwen3_moe", "gpt_neox", "gpt2")
CASES = [(name, level) for name, method in METHODS.items() for level in spellings(method)]
# What llama.cpp runs is read by nothing else: tests/methods/test_gguf.py looks into it.
READABLE = [c for c in CASES if METHODS[c[0]].evaluation_env == "torch"]
PRUNING = [c for c in READABLE if METHODS[c[0]].kind == "unstructured"]
QUANTIZING = [c for c in READABLE if METHODS[c[0]].kind == "quantization"]
TYPICAL = ("0.5", "2of4", "4bit", "w8a8", "")


def typical_levels(method):
    """The levels that a method is tried at on every architecture; the others are tried on Llama."""
    levels, declared = spellings(method), method.facts.representative_level
    return [declared] if declared else [x for x in levels if x in TYPICAL] or levels[:1]


ONCE = {name: typical_levels(method) for name, method in METHODS.items()}
ON_FAMILIES = [
    (name, level, family)
    for name, level in READABLE
    for family in FAMILIES
    if family == "llama" or level in ONCE[name]
]
# Libraries compute with packed weights and in an order of their own.
KERNELS = {"rtol": 2e-3, "atol": 2e-4}


@pytest.fixture(scope="module")
def compressed(folder, base_of, windows):
    """A family's model at a step, made once and not to be changed."""
    made = {}

    def make(family, method, level):
        place = folder / f"{family}-{method}-{level}"
        if place not in made:
            made[place] = run(base_of(method, family), place, spell(method, level), windows)
        return made[place]

    return make


def skip_what_cannot_be_done(method, target):
    """Skips the rest of a test where a step that changes shapes does not apply and says why."""
    description = Description.read(target)
    if METHODS[method].kind in SHAPE_KINDS and description.status == "not_applicable":
        assert [file.name for file in target.iterdir()] == ["meltpoint.json"]
        assert description.reason
        pytest.skip(description.reason)


@pytest.fixture(scope="module")
def pruned_by(folder, base_of, windows):
    """The model that a method is tried on after a step that has made zeros, made once."""
    made = {}

    def make(method, level):
        base = base_of(method, "llama")
        place = folder / f"pruned-{level}-{base.name}"
        if place not in made:
            made[place] = run(base, place, f"{MAGNITUDE}@{level}", windows)
        return made[place]

    return make


@pytest.fixture(scope="module")
def case(base_of, compressed):
    """A step on a base model."""

    def make(method, level, family):
        target = compressed(family, method, level)
        return Case(METHODS[method], level, base_of(method, family), target)

    return make


@pytest.mark.parametrize(("method", "level", "family"), ON_FAMILIES)
def test_it_changes_what_its_kind_may_and_reaches_what_it_must(method, level, family, case):
    step = case(method, level, family)
    skip_what_cannot_be_done(method, step.target)
    contract = CONTRACTS[step.method.kind]
    contract.may_change(step)
    contract.must_reach(step)


@pytest.mark.parametrize("family", CONVERTED)
@pytest.mark.parametrize(("method", "level"), [c for c in READABLE if c[1] in ONCE[c[0]]])
def test_what_transformers_converts_is_compressed_or_refused(
    method, level, family, folder, windows, tmp_path
):
    base = folder / f"converted-{family}"
    base = base if base.exists() else save_model(base, family)
    target = run(base, tmp_path / "target", spell(method, level), windows)
    description = Description.read(target)
    if description.status != "ok":
        assert description.reason
        assert not METHODS[method].is_blockwise or METHODS[method].kind in SHAPE_KINDS
        return
    step = Case(METHODS[method], level, base, target)
    CONTRACTS[step.method.kind].may_change(step)
    CONTRACTS[step.method.kind].must_reach(step)
    ids = random_tokens(2, 20, seed=1)
    with torch.no_grad():
        ours = load(target, torch.float32, torch.device("cpu"))(ids).logits
        if description.shapes.irregular or not METHODS[method].facts.agrees_with_transformers:
            return
        theirs = AutoModelForCausalLM.from_pretrained(target, dtype="float32").eval()(ids).logits
    close = {"rtol": 2e-3, "atol": 1e-3} if format_of(target) else {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(ours, theirs.float(), **close)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [n for n, m in METHODS.items() if m.kind in SHAPE_KINDS])
def test_a_method_that_changes_shapes_can_do_most_levels(method, family, compressed):
    """Eight blocks, four heads: a level may be less than the least that can be removed."""
    targets = [compressed(family, method, level) for level in spellings(METHODS[method])]
    done = [target for target in targets if Description.read(target).status == "ok"]
    assert len(done) >= len(targets) - 1


def passes(method, level, pruned):
    """Whether a step asks for at least the zeros that an earlier one has made."""
    if METHODS[method].kind != "unstructured":
        return True
    return parse_level(level).fraction >= parse_level(pruned).fraction


@pytest.mark.parametrize(
    ("method", "level", "pruned"),
    [
        (*c, pruned)
        for c in READABLE
        for pruned in ("0.4", "2of4")
        if passes(*c, pruned) and (pruned == "0.4" or c[1] in ONCE[c[0]])
    ],
)
def test_it_keeps_what_its_kind_must(method, level, pruned, pruned_by, windows, tmp_path):
    """After a step that has made zeros: all levels after a fraction, typical ones after a pattern."""
    parent = pruned_by(method, pruned)
    child = run(parent, tmp_path / "child", spell(method, level), windows)
    skip_what_cannot_be_done(method, child)
    step = Case(METHODS[method], level, parent, child)
    CONTRACTS[step.method.kind].must_keep(step)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("method", "level"), [c for c in READABLE if c[1] in TYPICAL])
def test_it_loads_again(method, level, family, base_of, compressed):
    target, facts = compressed(family, method, level), METHODS[method].facts
    ids = random_tokens(2, 20, seed=1)
    with torch.no_grad():
        ours, again = (load(target, torch.float32, torch.device("cpu"))(ids).logits for _ in "12")
        dense = load(base_of(method, family), torch.float32, torch.device("cpu"))(ids).logits
    assert torch.equal(ours, again)
    assert not torch.equal(ours, dense)
    # Of some transformers runs kernels that compute in another precision, or none at all: their own
    # tests compare them as far as it goes. No config can say irregular shapes.
    irregular = Description.read(target).shapes.irregular
    if irregular or not facts.agrees_with_transformers or family in facts.disagrees_on:
        return
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(target, dtype="float32").eval()(ids).logits
    if format_of(target):
        torch.testing.assert_close(ours, theirs.float(), **KERNELS)
    else:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("method", "level"), [c for c in CASES if c[1] in (*TYPICAL, "q4_k_m")])
def test_same_job_spec_same_bytes(method, level, base_of, compressed, windows, tmp_path):
    hashes = []
    base, again = base_of(method, "llama"), tmp_path / "again"
    run(base, again, spell(method, level), windows, search_anew=True)
    for target in (compressed("llama", method, level), again):
        files = sorted(f for f in target.rglob("*") if f.is_file() and f.name != COST)
        hashes.append([(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(("method", "level"), [c for c in PRUNING if c[1] in ("0.5", "4of8")])
def test_batches_do_not_matter_beyond_rounding(method, level, base_of, windows, tmp_path):
    base = base_of(method, "llama")
    one, five = (
        weights(run(base, tmp_path / str(b), f"{method}@{level}", windows, batch=b)) for b in (1, 5)
    )
    differ = sum(int(((one[n] == 0) != (five[n] == 0)).sum()) for n in one)
    assert differ <= 1e-3 * sum(w.numel() for w in one.values())


BLOCKWISE = [c for c in READABLE if METHODS[c[0]].is_blockwise]


# All levels in the coarser of the two, typical ones in the other.
HALVES = [(*c, "bfloat16") for c in BLOCKWISE if c[1] not in ("0.3", "0.7")]
HALVES += [(*c, "float16") for c in BLOCKWISE if c[1] in ONCE[c[0]]]


@pytest.mark.parametrize(("method", "level", "dtype"), HALVES)
def test_half_precision(method, level, dtype, base_of, windows, tmp_path):
    base = base_of(method, "llama")
    target = run(base, tmp_path / "a", spell(method, level), windows, dtype=dtype)
    skip_what_cannot_be_done(method, target)
    found, description = weights(target), Description.read(target)
    assert {str(w.dtype) for w in found.values()} == {f"torch.{dtype}"}
    parsed = parse_level(level)
    if METHODS[method].kind == "unstructured":
        # In 8 to 11 bits of mantissa weights tie with the threshold, and ties go with it.
        assert description.achieved.zeros == pytest.approx(parsed.fraction, abs=0.005)
        assert description.achieved.bits == 16
    for name, linear in description.linears.items():
        if isinstance(parsed, Bits):
            most = most_levels(found[f"{name}.weight"], linear.stored.group_size)
            assert most <= 2**parsed.bits


@pytest.mark.parametrize("method", [n for n, m in METHODS.items() if Pattern in m.levels])
def test_a_width_that_no_group_fills_is_not_applicable(method, base_of, windows, tmp_path):
    target = run(base_of(method, "llama"), tmp_path / "checkpoint", f"{method}@3of7", windows)
    assert [f.name for f in target.iterdir()] == ["meltpoint.json"]
    description = Description.read(target)
    assert description.status == "not_applicable"
    assert "multiples of 7; self_attn.q_proj has 64" in description.reason
    child = run(target, tmp_path / "child", f"{MAGNITUDE}@0.5", windows)
    assert Description.read(child).reason == description.reason


@pytest.mark.parametrize(
    "method", sorted({c[0] for c in PRUNING if Sparsity in METHODS[c[0]].levels})
)
def test_a_sparser_model_is_not_applicable(method, pruned_by, windows, tmp_path):
    parent = pruned_by(method, "0.6")
    child = run(parent, tmp_path / "child", f"{method}@0.3", windows)
    zeros = Description.read(parent).achieved.zeros
    assert zeros == pytest.approx(0.6, abs=0.02)
    assert f"{zeros:.3f} sparse already" in Description.read(child).reason


@pytest.mark.parametrize(("method", "level"), QUANTIZING)
def test_size_is_that_of_codes_scales_and_the_rest(method, level, base_of, compressed):
    target, base = compressed("llama", method, level), base_of(method, "llama")
    layers = Description.read(target).linears.values()
    linears = sum(layer.count for layer in layers)
    codes = sum(x.count * x.stored.bits for x in layers)
    counts, dense = size(target), size(base)
    assert counts["parameters"] == dense["parameters"]
    rest = 32 * (dense["parameters"] - linears)
    scales = counts["bits_per_weight"] * counts["parameters"] - codes - rest
    # Scales, zero points and indices are something, and less than two bits a weight.
    assert 0 < scales < 2 * linears


def quantized(target):
    """The grids that all linears are said to be on."""
    return {linear.stored for linear in Description.read(target).linears.values()}


def check_that_a_grid_holds(parent, pruning, level, windows, tmp_path):
    child = run(parent, tmp_path / "child", f"{pruning}@{level}", windows)
    before, after = weights(parent), weights(child)
    kept = all(
        bool(((after[n] == before[n]) | (after[n] == 0)).all()) for n in linear_names(parent)
    )
    assert format_of(child) is None
    assert kept == (not METHODS[pruning].facts.updates_weights)
    assert quantized(child) == (quantized(parent) if kept else {None})
    assert not Description.read(child).rounded


@pytest.mark.parametrize(("pruning", "level"), [c for c in PRUNING if c[1] in ("0.7", "2of4")])
def test_a_grid_holds_while_no_weight_changes_but_to_zero(
    pruning, level, base_of, windows, tmp_path
):
    parent = run(base_of(pruning, "llama"), tmp_path / "parent", f"{ROUNDING}@4bit", windows)
    check_that_a_grid_holds(parent, pruning, level, windows, tmp_path)


PACKING = [c for c in QUANTIZING if not METHODS[c[0]].is_blockwise and c[1] in TYPICAL]


@pytest.mark.parametrize("updates", [False, True])
@pytest.mark.parametrize(("method", "bits"), PACKING)
def test_what_a_library_has_packed_is_pruned_as_it_decodes(
    method, bits, updates, compressed, windows, tmp_path
):
    pruning = first(
        "unstructured",
        lambda m: m.facts.updates_weights == updates and calibrated(m) and Pattern in m.levels,
    )
    check_that_a_grid_holds(compressed("llama", method, bits), pruning, "2of4", windows, tmp_path)


@pytest.mark.parametrize(
    ("method", "level"),
    [c for c in CASES if METHODS[c[0]].kind == "quantization" and c[1] in (*TYPICAL, "q8_0")],
)
def test_what_is_packed_is_quantised_again_as_it_decodes(
    method, level, compressed, base_of, windows, tmp_path
):
    parent = compressed("llama", PACKED, "")
    child = run(parent, tmp_path / "child", spell(method, level), windows)
    assert Description.read(child).status == "ok"
    assert [f.name for f in tmp_path.iterdir()] == ["child"]
    if METHODS[method].evaluation_env != "torch":
        return
    dense, before, after = (weights(f) for f in (base_of(PACKED, "llama"), parent, child))
    name = "model.layers.1.mlp.down_proj.weight"
    assert (after[name] - before[name]).norm() < (after[name] - dense[name]).norm()


def test_the_registry_needs_no_torch():
    """Snakemake reads the methods in an environment of its own."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from meltpoint.methods import registry\n"
        "assert registry(); [m.settings_class() for m in registry().values()]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
