"""The official codes' numbers for methods that change shapes, through the workflow itself.

The tests of each method compare all golden rows and what was cut. Here rows of each way to change
shapes go through their rules: searches, compression and evaluation.
"""

import json
from pathlib import Path

import pytest

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.evaluations.cells import Cell
from tests.support import structured_golden as golden
from tests.support.run_study import run_study

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(
        not golden.GOLDEN.exists(),
        reason="the official codes' numbers (shared/golden) are not here",
    ),
]


# Narrower blocks of unequal widths, blocks removed by a search, units of a search's scores, factors.
STEPS = (
    "slicegpt@0.8,official=true",
    "sleb@0.6",
    "hgsp@0.2,prior=taylor",
    "llm_pruner@0.5,official=true,importance=param_first,expand_kv=true",
    "svd_llm@0.5,expand_kv=true",
)
ROWS = {step: golden.rows()[step] for step in STEPS} if golden.GOLDEN.exists() else {}
STUDY = f"""
study: golden
models:
  stories: {{path: {golden.MODEL}}}
corpora:
  test: {{tokens: {golden.GOLDEN}/test.npy}}
calibrations:
  default: {{windows: {golden.GOLDEN}/calibration.npy}}
evaluations:
  test-256: {{perplexity: test, window: 256}}
chains:
  golden:
    models: [stories]
    chains: {json.dumps(list(ROWS))}
    evaluations: [test-256]
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The cells of a study of the golden model, run by the workflow."""
    folder = tmp_path_factory.mktemp("parity")
    run_study(folder, STUDY)
    return folder / "results/golden/cells/stories"


@pytest.mark.parametrize("step", ROWS)
def test_perplexity_and_parameters_are_the_official_codes(cells, step):
    parsed, row = parse_step(step), ROWS[step]
    folder = cells / str(methods.find(parsed.method).canonical(parsed))
    score = Cell.read(folder / "test-256.json").scores["perplexity"]
    tolerance = golden.TOLERANCES.get(parsed.method, 1e-4)
    assert score.value == pytest.approx(row["ppl"], rel=tolerance)
    expected = golden.parameters_of(row)
    if expected is not None:
        assert Description.read(folder / "checkpoint").shapes.parameters == expected
