"""Numbers of the official implementations, on one layer and through the workflow itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from meltpoint import methods
from meltpoint.blocks import Block
from meltpoint.chain import parse_step
from meltpoint.statistics import Statistics

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT.parent / "shared/golden/unstructured"
MODEL = ROOT.parent / "shared/data/models/stories260K"
pytestmark = pytest.mark.skipif(
    not GOLDEN.exists(), reason="the official codes' numbers (shared/golden) are not here"
)
METHODS = ("magnitude", "wanda", "sparsegpt")
# A flipped near-tie is rounding; magnitude sums nothing up, so has none.
MISMATCH = {"magnitude": 0.0, "wanda": 1e-4, "sparsegpt": 1e-3}


@pytest.fixture(scope="module")
def layer():
    return np.load(GOLDEN / "layer_golden.npz")


@pytest.mark.parametrize("fixture", "AB")
@pytest.mark.parametrize("level", ["0.3", "0.5", "0.7", "2:4", "4:8"])
@pytest.mark.parametrize("method", METHODS)
def test_one_layer(layer, fixture, method, level):
    official = torch.from_numpy(layer[f"{fixture}|{method}|{level}"])
    inputs = torch.from_numpy(layer[f"{fixture}|X"]).float()
    linear = torch.nn.Linear(inputs.shape[-1], len(official), bias=False).requires_grad_(False)
    linear.weight.copy_(torch.from_numpy(layer[f"{fixture}|W"]))
    step = parse_step(f"{method}@{level}")
    found = methods.find(method)
    statistics = Statistics(found.statistics, inputs.shape[-1], len(inputs), inputs.device)
    statistics.update(inputs)
    block = Block(0, 1, linear, {"linear": linear}, None, None)
    found.module.compress_block(block, {"linear": statistics}, step.level, found.settings(step))
    differ = ((linear.weight == 0) != (official == 0)).float().mean().item()
    assert differ <= MISMATCH[method]
    if not differ:
        torch.testing.assert_close(linear.weight, official, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fixture", "AB")
def test_the_statistics_of_one_layer(layer, fixture):
    inputs = torch.from_numpy(layer[f"{fixture}|X"]).float()
    statistics = Statistics(("norm", "hessian"), inputs.shape[-1], len(inputs), inputs.device)
    statistics.update(inputs)
    for name, stored in (("norm", "scaler_row"), ("hessian", "H")):
        official = torch.from_numpy(layer[f"{fixture}|stat|{stored}"]).float()
        torch.testing.assert_close(getattr(statistics, name), official, rtol=1e-4, atol=1e-4)


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
sweeps:
  unstructured:
    models: [stories]
    methods: [{", ".join(METHODS)}]
    levels: [0.3, 0.5, 0.7, "2:4", "4:8"]
    evaluations: [test-256]
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The cells of a study of the golden model, run by the workflow."""
    folder = tmp_path_factory.mktemp("parity")
    (folder / "study.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    profile = ["--workflow-profile", str(ROOT / "profiles/default")]
    options = ["--cores", "2", "--configfile", "study.yaml", "--directory", str(folder)]
    subprocess.run([*command, *profile, *options, "--quiet", "all"], check=True, cwd=folder)
    return folder / "results/golden/cells/stories"


@pytest.fixture(scope="module")
def official():
    return json.loads((GOLDEN / "stories260K.json").read_text())["stories260K"]["results"]


@pytest.mark.workflow
def test_dense_perplexity(cells, official):
    value = json.loads((cells / "dense/test-256.json").read_text())["value"]
    assert value == pytest.approx(official["dense"]["0"]["ppl"], rel=1e-6)


@pytest.mark.workflow
@pytest.mark.parametrize("level", ["0.3", "0.5", "0.7", "2:4"])
@pytest.mark.parametrize("method", METHODS)
def test_the_whole_model(cells, official, method, level):
    folder = cells / f"{method}@{level.replace(':', 'of')}"
    cell = json.loads((folder / "test-256.json").read_text())
    assert cell["value"] == pytest.approx(official[method][level]["ppl"], rel=1e-3)
    ours = {}
    for file in (folder / "checkpoint").glob("*.safetensors"):
        ours |= load_file(file)
    masks = np.load(GOLDEN / f"masks/{method}_{level.replace(':', '-')}.npz")
    differ = size = 0
    for name in masks.files:
        weight = ours[f"model.layers.{name}.weight"]
        keep = np.unpackbits(masks[name], count=weight.size)
        differ += int((keep != (weight != 0).ravel()).sum())
        size += weight.size
    assert differ / size <= MISMATCH[method]


@pytest.mark.workflow
@pytest.mark.parametrize("method", METHODS)
def test_a_width_that_no_group_fills_is_refused(cells, method):
    """The official codes prune the short group of a row of 172 weights whole."""
    cell = json.loads((cells / f"{method}@4of8/test-256.json").read_text())
    assert cell["status"] == "not_applicable"
    assert cell["reason"].endswith("mlp.down_proj has 172")
    assert cell["value"] is None
