"""What every registered method owes: found from the registry, so a new file is tested too."""

import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from meltpoint import methods
from meltpoint.chain import Bits, Pattern, Sparsity, parse_level, parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import format_of
from meltpoint.checkpoints.io import Reader
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.evaluations.size import size
from meltpoint.model import empty_model
from meltpoint.model.load import load
from meltpoint.workflow import requirements
from tests.support.tiny_models import random_tokens, save_model

FAMILIES = ("llama", "mistral", "qwen2", "opt")
LEVELS = {
    Sparsity: ["0.3", "0.5", "0.7"],
    Pattern: ["2of4", "4of8", "3of4"],
    Bits: ["8bit", "4bit", "3bit", "2bit"],
}


def spellings(method):
    """The levels that a method is run at; "" where it takes none."""
    if not method.levels:
        return [""]
    wide = [*method.schemes, *(level for form in method.levels for level in LEVELS.get(form, ()))]
    return [x for x in wide if not x.endswith("bit") or parse_level(x).bits in method.bits]


METHODS = methods.registry()
CASES = [(name, level) for name, method in METHODS.items() for level in spellings(method)]
# These share a block's sparsity out to its linears.
SHARED_OUT = {n for n, m in METHODS.items() if m.facts.sparsity_scope == "block"}
# These update the weights that they keep.
UPDATING = {n for n, m in METHODS.items() if m.facts.updates_weights}
PRUNING = [c for c in CASES if methods.find(c[0]).kind == "unstructured"]
QUANTIZING = [c for c in CASES if methods.find(c[0]).kind == "quantization"]
# What llama.cpp runs is read by nothing else: tests/methods/test_gguf.py looks into it.
READABLE = [c for c in QUANTIZING if methods.find(c[0]).evaluation_env == "torch"]
# One level of each method that a library does, on every architecture; the others on Llama.
ONCE = {n: m.facts.representative_level for n, m in METHODS.items()}
ON_FAMILIES = [
    (name, level, family)
    for name, level in READABLE
    for family in FAMILIES
    if family == "llama" or ONCE[name] in ("", level)
]
# These move scales from a linear's input into the norm before it.
RESCALING = {n for n, m in METHODS.items() if m.facts.rescales_norms}
TYPICAL = ("0.5", "2of4", "4bit", "w8a8", "")
# Of these transformers runs kernels that compute in another precision, or none at all: their own tests
# compare them as far as it goes (tests/methods/test_bitsandbytes.py, test_gptq.py, test_hqq.py).
OTHER_KERNELS = {n for n, m in METHODS.items() if not m.facts.agrees_with_transformers}
# Libraries compute with packed weights and in an order of their own.
KERNELS = {"rtol": 2e-3, "atol": 2e-4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("contracts")


@pytest.fixture(scope="module")
def windows(folder):
    path = folder / "windows.npy"
    np.save(path, random_tokens(6, 48).numpy())
    return path


@pytest.fixture(scope="module")
def bases(folder):
    return {family: save_model(folder / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def wide_bases(folder):
    """The same, of a width that groups and kernels fill."""
    sizes = {"hidden_size": 256, "intermediate_size": 512}
    changes = {
        "llama": {**sizes, "head_dim": 64},
        "mistral": {**sizes, "head_dim": 64},
        "qwen2": sizes,
        "opt": {"hidden_size": 256, "ffn_dim": 512, "word_embed_proj_dim": 256},
    }
    return {f: save_model(folder / f"{f}-wide", f, **changes[f]) for f in FAMILIES}


@pytest.fixture
def base_of(bases, wide_bases):
    """The base model of a family that a method is tried on."""
    return lambda method, family: (bases if methods.find(method).is_blockwise else wide_bases)[
        family
    ]


def spell(method, level):
    return f"{method}@{level}" if level else method


def run(parent, target, spelling, windows, **compute):
    """Compresses by a step as its script does."""
    method = methods.find(parse_step(spelling).method)
    more = "".join(f",{key}={value}" for key, value in method.facts.full_range_settings.items())
    step = parse_step(spelling + more)
    if missing := [name for name in method.libraries if not requirements.installed(name)]:
        pytest.skip(f"{step.method} needs {', '.join(missing)}")
    settings = method.settings(step)
    given = {"windows": {"file": "x"}} if method.calibrated(step) else {}
    recipe = {
        "chain": str(step),
        "step": str(step),
        "settings": settings.model_dump(mode="json") | given,
    }
    compress(parent, target, recipe, [windows], Compute(device="cpu", **compute))
    return target


@pytest.fixture(scope="module")
def compressed(folder, bases, wide_bases, windows):
    """A family's model at a step, made once and not to be changed."""
    made = {}

    def make(family, method, level):
        place = folder / f"{family}-{method}-{level}"
        if place not in made:
            base = (bases if methods.find(method).is_blockwise else wide_bases)[family]
            made[place] = run(base, place, spell(method, level), windows)
        return made[place]

    return make


def weights(folder):
    """All of a checkpoint's weights by their parameters' names, decoded where they are packed."""
    if format_of(folder):
        return decoded(folder)
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def decoded(folder):
    model = empty_model.build(folder, torch.float32)
    reader = Reader(folder, torch.float32, torch.device("cpu"))
    reader.tie(empty_model.tied_names(model))
    return reader.read(empty_model.parameters_of(model, model, ""))


def linear_names(folder):
    model = empty_model.build(folder, torch.float32)
    name, blocks = empty_model.decoder_blocks(model)
    return [f"{name}.{i}.{n}.weight" for i, b in enumerate(blocks) for n in empty_model.linears(b)]


def parts(found, names, method):
    """What each has the requested sparsity: the linears, or where it is shared out the blocks."""
    if method not in SHARED_OUT:
        return [found[name] for name in names]
    blocks: dict[str, list] = {}
    for name in names:
        blocks.setdefault(re.sub(r"(\d+)\..*", r"\1", name), []).append(found[name].flatten())
    return [torch.cat(block)[None] for block in blocks.values()]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("method", "level"), PRUNING)
def test_sparsity_is_what_was_asked_for(method, level, family, bases, compressed):
    target = compressed(family, method, level)
    before, after = weights(bases[family]), weights(target)
    level = parse_level(level)
    for weight in parts(after, linear_names(bases[family]), method):
        if isinstance(level, Pattern):
            kept = (weight.unflatten(1, (-1, level.group)) != 0).sum(-1)
            assert (kept == level.kept).all()
        else:
            # The official roundings: one weight per matrix, block of columns or row.
            missing = (weight == 0).sum() - level.fraction * weight.numel()
            assert abs(missing) <= weight.shape[0]
    untouched = set(before) - set(linear_names(bases[family]))
    assert set(after) == set(before)
    assert all(torch.equal(before[name], after[name]) for name in untouched)
    achieved = sum(int((after[n] == 0).sum()) for n in linear_names(target))
    total = sum(after[n].numel() for n in linear_names(target))
    description = Description.read(target)
    assert description.requested == {"zeros": level.fraction}
    assert description.achieved.zeros == achieved / total


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("method", "level"), [c for c in (*PRUNING, *READABLE) if c[1] in TYPICAL])
def test_it_loads_again(method, level, family, base_of, compressed):
    target = compressed(family, method, level)
    ids = random_tokens(2, 20, seed=1)
    with torch.no_grad():
        ours, again = (load(target, torch.float32, torch.device("cpu"))(ids).logits for _ in "12")
        dense = load(base_of(method, family), torch.float32, torch.device("cpu"))(ids).logits
    assert torch.equal(ours, again)
    assert not torch.equal(ours, dense)
    if method in OTHER_KERNELS or family in METHODS[method].facts.disagrees_on:
        return
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(target, dtype="float32").eval()(ids).logits
    if format_of(target):
        torch.testing.assert_close(ours, theirs.float(), **KERNELS)
    else:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("method", "level"), [c for c in CASES if c[1] in (*TYPICAL, "q4_k_m")])
def test_same_recipe_same_bytes(method, level, base_of, compressed, windows, tmp_path):
    hashes = []
    again = run(base_of(method, "llama"), tmp_path / "again", spell(method, level), windows)
    for target in (compressed("llama", method, level), again):
        files = sorted(f for f in target.iterdir())
        hashes.append([(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(("method", "level"), [c for c in PRUNING if c[1] in ("0.5", "4of8")])
def test_batches_do_not_matter_beyond_rounding(method, level, bases, windows, tmp_path):
    one, five = (
        weights(run(bases["llama"], tmp_path / str(b), f"{method}@{level}", windows, batch=b))
        for b in (1, 5)
    )
    differ = sum(int(((one[n] == 0) != (five[n] == 0)).sum()) for n in one)
    assert differ <= 1e-3 * sum(w.numel() for w in one.values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("method", "level"), [c for c in PRUNING if c[1] in ("0.5", "2of4")])
def test_half_precision(method, level, dtype, bases, windows, tmp_path):
    target = run(bases["llama"], tmp_path / "a", f"{method}@{level}", windows, dtype=dtype)
    assert {str(w.dtype) for w in weights(target).values()} == {f"torch.{dtype}"}
    # In 8 to 11 bits of mantissa weights tie with the threshold, and ties go with it.
    assert Description.read(target).achieved.zeros == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("method", sorted({c[0] for c in PRUNING if "of" in c[1]}))
def test_a_width_that_no_group_fills_is_not_applicable(method, bases, windows, tmp_path):
    target = run(bases["llama"], tmp_path / "checkpoint", f"{method}@3of7", windows)
    assert [f.name for f in target.iterdir()] == ["meltpoint.json"]
    description = Description.read(target)
    assert description.status == "not_applicable"
    assert "multiples of 7; self_attn.q_proj has 64" in description.reason
    child = run(target, tmp_path / "child", "wanda@0.5", windows)
    assert Description.read(child).reason == description.reason


@pytest.mark.parametrize(("method", "level"), [c for c in PRUNING if c[1] in ("0.7", "2of4")])
def test_zeros_made_earlier_stay_and_count(method, level, bases, windows, tmp_path):
    parent = run(bases["llama"], tmp_path / "parent", "magnitude@0.4", windows)
    child = run(parent, tmp_path / "child", f"{method}@{level}", windows)
    before, after = weights(parent), weights(child)
    for name in linear_names(parent):
        assert (after[name][before[name] == 0] == 0).all(), name
    description = Description.read(child)
    assert not description.zeros_lost
    if level == "0.7":
        assert description.achieved.zeros == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("level", ["0.7", "2of4"])
def test_zeros_stay_beyond_a_block_of_columns(level, bases, windows, tmp_path):
    """What a block's error does to the columns after it must not fill their zeros."""
    parent = run(bases["llama"], tmp_path / "parent", "magnitude@0.4", windows)
    child = run(parent, tmp_path / "child", f"sparsegpt@{level},blocksize=16", windows)
    before, after = weights(parent), weights(child)
    assert not Description.read(child).zeros_lost
    assert all((after[n][before[n] == 0] == 0).all() for n in linear_names(parent))


@pytest.mark.parametrize("method", sorted({c[0] for c in PRUNING if "of" not in c[1]}))
def test_a_sparser_model_is_not_applicable(method, bases, windows, tmp_path):
    parent = run(bases["llama"], tmp_path / "parent", "magnitude@0.6", windows)
    child = run(parent, tmp_path / "child", f"{method}@0.3", windows)
    assert "0.600 sparse already" in Description.read(child).reason


def most_levels(weight, group_size):
    """The most distinct values in a group of columns of a row."""
    groups = weight.split(weight.shape[1] if group_size == -1 else group_size, dim=1)
    return max(len(row.unique()) for group in groups for row in group)


@pytest.mark.parametrize(("method", "level", "family"), ON_FAMILIES)
def test_levels_are_as_many_as_were_asked_for(method, level, family, base_of, compressed):
    target, base = compressed(family, method, level), base_of(method, family)
    before, after = weights(base), weights(target)
    layers = Description.read(target).linears
    names = linear_names(base)
    assert [f"{name}.weight" for name in layers] == names
    for name in names:
        stored = layers[name.removesuffix(".weight")].stored
        if isinstance(parse_level(level or "none"), Bits):
            assert stored["bits"] == parse_level(level).bits
        assert stored["bits"] <= 8
        assert most_levels(after[name], stored["group_size"]) <= 2 ** stored["bits"]
        assert not torch.equal(after[name], before[name])
    assert set(after) == set(before)
    others = set(before) - set(names)
    if method in RESCALING:
        others = {name for name in others if before[name].dim() > 1}
    half = METHODS[method].facts.stores_biases_in == "float16"
    close = {"rtol": 1e-3, "atol": 1e-4} if half else {"rtol": 0, "atol": 0}
    for name in others:
        torch.testing.assert_close(before[name], after[name], **close)


@pytest.mark.parametrize(("method", "level"), READABLE)
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


# Of a linear of 256 columns and R rows: bits of scales and zero points for each column and row, and of
# what is stored once, in the study's float32.
OVERHEADS = {
    "gptq": lambda rows, columns: rows * columns / 128 * (16 + 4) + 32 * columns,
    "nf4": lambda rows, columns: rows * columns / 64 * 32,
    "int8": lambda rows, columns: 32 * rows,
    "smoothquant": lambda rows, columns: 32 * rows,
    "awq": lambda rows, columns: rows * columns / 128 * (32 + 4),
    "rtn": lambda rows, columns: rows * columns / 128 * (16 + 4),
}


@pytest.mark.parametrize("method", OVERHEADS)
def test_overheads_are_those_of_the_format(method, base_of, compressed):
    """To within what belongs to no weight: shapes, tables of codes, the library's notes."""
    level = {"smoothquant": "w8a8", "nf4": "", "int8": ""}.get(method, "4bit")
    target = compressed("llama", method, level)
    shapes = [layer.shape for layer in Description.read(target).linears.values()]
    code = 8 if method in ("int8", "smoothquant") else 4
    linears = sum(rows * columns for rows, columns in shapes)
    expected = sum(code * r * c + OVERHEADS[method](r, max(c, 128)) for r, c in shapes)
    counts = size(target)
    rest = 32 * (counts["parameters"] - linears)
    found = counts["bits_per_weight"] * counts["parameters"] - rest
    # A linear's notes: at most the kilobyte of bitsandbytes.
    assert 0 <= found - expected <= 8 * 1200 * len(shapes)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("method", "level"), [c for c in READABLE if methods.find(c[0]).is_blockwise]
)
def test_levels_in_half_precision(method, level, dtype, bases, windows, tmp_path):
    target = run(bases["llama"], tmp_path / "a", f"{method}@{level}", windows, dtype=dtype)
    found, layers = weights(target), Description.read(target).linears
    assert {str(w.dtype) for w in found.values()} == {f"torch.{dtype}"}
    for name, layer in layers.items():
        group_size = layer.stored.group_size
        assert most_levels(found[f"{name}.weight"], group_size) <= 2 ** parse_level(level).bits


@pytest.mark.parametrize("pruned", ["magnitude@0.4", "magnitude@2of4"])
@pytest.mark.parametrize(
    ("method", "level"), [c for c in READABLE if methods.find(c[0]).is_blockwise]
)
def test_zeros_stay_when_quantized_and_others_claim_no_sparsity(
    method, level, pruned, bases, windows, tmp_path
):
    parent = run(bases["llama"], tmp_path / "parent", pruned, windows)
    child = run(parent, tmp_path / "child", spell(method, level), windows)
    before, after = weights(parent), weights(child)
    names = linear_names(parent)
    for name in names:
        assert (after[name][before[name] == 0] == 0).all(), name
    zeros = sum(int((after[n] == 0).sum()) for n in names) / sum(after[n].numel() for n in names)
    claimed, description = Description.read(parent), Description.read(child)
    assert description.requested["zeros"] == claimed.requested["zeros"]
    assert description.achieved.zeros == claimed.achieved.zeros
    assert not description.zeros_lost
    assert description.achieved.zeros + description.rounded == pytest.approx(zeros)


@pytest.mark.parametrize(
    ("method", "level"),
    [c for c in READABLE if not methods.find(c[0]).is_blockwise and c[1] in TYPICAL],
)
def test_zeros_that_a_library_fills_are_counted(method, level, wide_bases, windows, tmp_path):
    parent = run(wide_bases["llama"], tmp_path / "parent", "magnitude@0.5", windows)
    child = run(parent, tmp_path / "child", spell(method, level), windows)
    before, after = weights(parent), weights(child)
    names = linear_names(parent)
    lost = sum(int(((before[n] == 0) & (after[n] != 0)).sum()) for n in names)
    zeros = sum(int((after[n] == 0).sum()) for n in names) / sum(after[n].numel() for n in names)
    description = Description.read(child)
    assert description.zeros_lost == lost
    assert description.achieved.zeros + description.rounded == pytest.approx(zeros)


def quantized(target):
    """The grids that all linears are said to be on."""
    return {linear.stored for linear in Description.read(target).linears.values()}


@pytest.mark.parametrize(("pruning", "level"), [c for c in PRUNING if c[1] in ("0.7", "2of4")])
def test_a_grid_holds_while_no_weight_changes_but_to_zero(pruning, level, bases, windows, tmp_path):
    check_that_a_grid_holds(run(bases["llama"], tmp_path / "parent", "rtn@4bit", windows), pruning,
                            level, windows, tmp_path)  # fmt: skip


@pytest.mark.parametrize("pruning", ["wanda", "sparsegpt"])
@pytest.mark.parametrize(
    ("method", "bits"),
    [c for c in READABLE if not methods.find(c[0]).is_blockwise and c[1] in TYPICAL],
)
def test_what_a_library_has_packed_is_pruned_as_it_decodes(
    method, bits, pruning, compressed, windows, tmp_path
):
    check_that_a_grid_holds(compressed("llama", method, bits), pruning, "2of4", windows, tmp_path)


@pytest.mark.parametrize(("method", "level"), [c for c in QUANTIZING if c[1] in (*TYPICAL, "q8_0")])
def test_what_is_packed_is_quantised_again_as_it_decodes(
    method, level, compressed, wide_bases, windows, tmp_path
):
    """From NF4, whose weights are far from the base's: so the step has read those."""
    parent = compressed("llama", "nf4", "")
    child = run(parent, tmp_path / "child", spell(method, level), windows)
    assert Description.read(child).status == "ok"
    assert [f.name for f in tmp_path.iterdir()] == ["child"]
    if methods.find(method).evaluation_env != "torch":
        return
    dense, before, after = (weights(folder) for folder in (wide_bases["llama"], parent, child))
    name = "model.layers.1.mlp.down_proj.weight"
    assert (after[name] - before[name]).norm() < (after[name] - dense[name]).norm()


def check_that_a_grid_holds(parent, pruning, level, windows, tmp_path):
    child = run(parent, tmp_path / "child", f"{pruning}@{level}", windows)
    before, after = weights(parent), weights(child)
    kept = all(
        bool(((after[n] == before[n]) | (after[n] == 0)).all()) for n in linear_names(parent)
    )
    assert format_of(child) is None
    assert kept == (pruning not in UPDATING)
    assert quantized(child) == (quantized(parent) if kept else {None})
    assert not Description.read(child).rounded


def test_the_registry_needs_no_torch():
    """Snakemake reads the methods in an environment of its own."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from meltpoint.methods import registry\n"
        "assert registry(); [m.settings_class() for m in registry().values()]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
