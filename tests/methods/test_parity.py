"""Numbers of the official implementations, on one layer, on a model and through the workflow itself.

One row of each method goes through its rules. The others are made by the functions that the scripts
call, within this process.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader
from meltpoint.compression.sparsity_allocation import measure_outliers, share_out
from meltpoint.compute import Compute
from meltpoint.evaluations.cells import Cell
from meltpoint.model.activation_statistics import Statistics
from meltpoint.model.block_walk import Walk
from tests.support import structured_golden as golden
from tests.support.official_layers import official_layer, prune
from tests.support.run_study import run_study

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT.parent / "shared/golden/unstructured"
MODEL = ROOT.parent / "shared/data/models/stories260K"
pytestmark = pytest.mark.skipif(
    not GOLDEN.exists(), reason="the official codes' numbers (shared/golden) are not here"
)
# The steps that give the numbers of each row, and the share of a mask's bits that may differ: a
# flipped near-tie is rounding; magnitude sums nothing up, so has none.
STEPS = {
    "magnitude": ("magnitude@{}", 0.0),
    "wanda": ("wanda@{}", 1e-4),
    "wanda_variant": ("wanda@{},variant=true", 1e-4),
    "wanda_owl": ("wanda@{},allocation=owl", 1e-3),
    "sparsegpt": ("sparsegpt@{}", 1e-3),
    "sparsegpt_owl": ("sparsegpt@{},allocation=owl", 1e-3),
    "ria": ("ria@{}", 1e-4),
    "w.DSnoT_c4": ("dsnot@{},cycles=4,init=wanda", 1e-3),
    "s.DSnoT_c4": ("dsnot@{},cycles=4,init=sparsegpt", 1e-3),
    "admm": ("admm@{},schedule=constant", 2e-3),
    "admm_gradual": ("admm@{},schedule=gradual", 2e-3),
}
LEVELS = ("0.3", "0.5", "0.7", "2:4")
LAYERS = [
    (row, level)
    for row in ("magnitude", "wanda", "wanda_variant", "sparsegpt")
    for level in (*LEVELS, "4:8")
    if (row, level) not in {("wanda_variant", "2:4"), ("wanda_variant", "4:8")}
]
WHOLE = [row for row in STEPS if row != "wanda_variant"]


@pytest.fixture(scope="module")
def layer():
    return np.load(GOLDEN / "layer_golden.npz")


@pytest.mark.parametrize("fixture", "AB")
@pytest.mark.parametrize(("row", "level"), LAYERS)
def test_one_layer(fixture, row, level):
    """The methods with variants of their own have their layers in tests of their own."""
    spelling, mismatch = STEPS[row]
    official, weight, inputs = official_layer(fixture, f"{row}|{level}")
    ours = prune(spelling.format(level), weight, inputs)
    differ = ((ours == 0) != (official == 0)).float().mean().item()
    assert differ <= mismatch
    if not differ:
        torch.testing.assert_close(ours, official, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fixture", "AB")
def test_the_statistics_of_one_layer(layer, fixture):
    inputs = torch.from_numpy(layer[f"{fixture}|X"]).float()
    stored = {"norm": "scaler_row", "hessian": "H", "sum": "sum_row", "variance": "var"}
    statistics = Statistics(tuple(stored), inputs.shape[-1], len(inputs), inputs.device)
    statistics.update(inputs)
    for name, theirs in stored.items():
        official = torch.from_numpy(layer[f"{fixture}|stat|{theirs}"]).float()
        torch.testing.assert_close(getattr(statistics, name), official, rtol=1e-4, atol=1e-4)


# One row of each method, of what its masks owe the most to: small errors would show the most there.
THROUGH_RULES = [
    ("magnitude", "0.7"),
    ("wanda_owl", "0.7"),
    ("sparsegpt_owl", "0.7"),
    ("ria", "2:4"),
    ("s.DSnoT_c4", "0.7"),
    ("admm_gradual", "2:4"),
]
STUDY = f"""
study: golden
models:
  stories: {{path: {MODEL}}}
corpora:
  test: {{tokens: {GOLDEN}/test.npy}}
calibrations:
  default: {{windows: {GOLDEN}/calibration.npy}}
evaluations:
  test-256: {{perplexity: test, window: 256}}
chains:
  golden:
    models: [stories]
    chains: {json.dumps([STEPS[row][0].format(level) for row, level in THROUGH_RULES])}
    evaluations: [test-256]
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The cells of a study of the golden model, run by the workflow."""
    folder = tmp_path_factory.mktemp("parity")
    run_study(folder, STUDY)
    return folder / "results/golden/cells/stories"


@pytest.fixture(scope="module")
def official():
    return json.loads((GOLDEN / "stories260K.json").read_text())["stories260K"]["results"]


@pytest.mark.workflow
def test_dense_perplexity(cells, official):
    score = Cell.read(cells / "dense/test-256.json").scores["perplexity"]
    assert score.value == pytest.approx(official["dense"]["0"]["ppl"], rel=1e-6)


def tensors_of(checkpoint):
    """All of a checkpoint's tensors by their names."""
    tensors = {}
    for file in checkpoint.glob("*.safetensors"):
        tensors |= load_file(file)
    return tensors


def masks_off(checkpoint, row, level):
    """Share of the weights that are zero in the checkpoint or in the official code's masks alone."""
    ours = tensors_of(checkpoint)
    masks = np.load(GOLDEN / f"masks/{row}_{level.replace(':', '-')}.npz")
    differ = size = 0
    for name in masks.files:
        weight = ours[f"model.layers.{name}.weight"]
        keep = np.unpackbits(masks[name], count=weight.size)
        differ += int((keep != (weight != 0).ravel()).sum())
        size += weight.size
    return differ / size


# Where decisions tie but for rounding, a method that updates weights has several results, and the
# processor decides which comes out. Of 16 models that differ by rounding, ADMM's gradual row at 0.7
# has a perplexity of 61.539 on 13. On the others it has 60.634 and the official masks.
ROUNDINGS = 32


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("row", WHOLE)
def test_the_whole_model(tmp_path, official, row, level):
    step, mismatch = STEPS[row][0].format(level), STEPS[row][1]
    updates = methods.find(parse_step(step).method).facts.updates_weights
    theirs, found = official[row][level]["ppl"], []
    for seed in (None, *range(ROUNDINGS if updates else 0)):
        place = tmp_path / str(seed)
        place.mkdir()
        model = golden.MODEL if seed is None else golden.disturbed(place / "model", seed)
        folder = golden.checkpoint(step, place / "checkpoint", GOLDEN, model)
        ours, off = golden.perplexity(folder, GOLDEN), masks_off(folder, row, level)
        if ours == pytest.approx(theirs, rel=1e-3) and off <= mismatch:
            return
        found.append((ours, off))
    pytest.fail(f"{theirs} with masks off by {mismatch} at most is none of {found}")


@pytest.mark.workflow
@pytest.mark.parametrize(("row", "level"), THROUGH_RULES)
def test_the_workflow_gives_the_same(tmp_path, cells, row, level):
    step = parse_step(STEPS[row][0].format(level))
    folder = cells / str(methods.find(step.method).canonical(step))
    here = golden.checkpoint(str(step), tmp_path / "checkpoint", GOLDEN)
    score = Cell.read(folder / "test-256.json").scores["perplexity"]
    assert score.value == pytest.approx(golden.perplexity(here, GOLDEN), rel=1e-12)
    np.testing.assert_equal(tensors_of(folder / "checkpoint"), tensors_of(here))


@pytest.mark.parametrize("row", ["wanda", "sparsegpt"])
def test_a_width_that_no_group_fills_is_refused(tmp_path, row):
    """The official codes prune the short group of a row of 172 weights whole."""
    step = STEPS[row][0].format("4of8")
    folder = golden.checkpoint(step, tmp_path / "checkpoint", GOLDEN)
    description = Description.read(folder)
    assert description.status == "not_applicable"
    assert description.reason.endswith("mlp.down_proj has 172")
    assert [file.name for file in folder.iterdir()] == ["meltpoint.json"]


def test_outliers_of_each_block():
    """What OWL's allocation is worked out from, and the allocation."""
    owl = json.loads((GOLDEN / "stories260K.json").read_text())["stories260K"]["owl"]
    windows = torch.from_numpy(np.load(GOLDEN / "calibration.npy")).long()
    reader = Reader(MODEL, torch.float32, torch.device("cpu"))
    with torch.no_grad():
        found, sizes = measure_outliers(Walk(reader, windows, Compute(device="cpu")), 5)
    assert found == pytest.approx(owl["outlier_percent_M5"], rel=1e-6)
    kept = [1 - s for s in share_out(found, sizes, 0.5, 0.08)]
    assert kept == pytest.approx(owl["keep_ratio_at_s0.5_lambda0.08"], abs=1e-6)
