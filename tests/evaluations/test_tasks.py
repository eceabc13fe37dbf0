"""The evaluation tasks: lm-eval's scores on the golden model, local files, groups, refusals."""

import json
from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._kept import read_kept
from meltpoint.model.base_models import link
from tests.support.measuring import job_spec, measure

SHARED = Path(__file__).parents[3] / "shared"
DATA = SHARED / "data/tasks"
MODEL = SHARED / "data/models/stories260K"
GOLDEN = SHARED / "golden/tasks/zeroshot_golden_dev.json"
needs_shared = pytest.mark.skipif(not GOLDEN.is_file(), reason="the shared goldens are not here")

TASKS = ("boolq", "piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")


@pytest.fixture(scope="module")
def golden() -> dict:
    return json.loads(GOLDEN.read_text())["tasks"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    link(MODEL, folder / "stories", "models.stories")
    spec = job_spec("tasks", tasks=list(TASKS), data=str(DATA), limit=150)
    cell = measure(spec, folder / "stories", folder / "e.json", data=DATA)
    return cell, read_kept(folder / "e.samples.jsonl")


@needs_shared
@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_lm_eval(measured, golden, task):
    cell, samples = measured
    expected = golden[task]["results"]
    for metric in ("acc", "acc_norm"):
        assert (f"{task}.{metric}" in cell.scores) == (metric in expected)
        if metric in expected:
            score = cell.scores[f"{task}.{metric}"]
            assert score.value == pytest.approx(expected[metric], abs=1e-6)
            assert score.stderr == pytest.approx(expected[f"{metric}_stderr"], abs=1e-6)
    assert cell.protocol["requests_cut"].get(task, 0) == golden[task]["truncated_pairs"]
    found = [each["loglikelihoods"] for each in samples if each["task"] == task]
    assert len(found) == 150
    for ours, theirs in zip(found, golden[task]["all_loglikelihoods"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
