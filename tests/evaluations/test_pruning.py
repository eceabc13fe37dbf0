"""The evaluation pruning: scores and files of what a method says of its cut."""

import json

import numpy as np
import pytest

from meltpoint.evaluations._kept import read_kept
from tests.support import steps
from tests.support.measuring import job_spec, measure
from tests.support.tiny_models import random_tokens, save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pruning")
    save_model(place / "base", "llama")
    np.save(place / "windows.npy", random_tokens(10, 24).numpy())
    steps.run(place / "base", place / "cut", "hgsp@0.3", place / "windows.npy")
    return place


def test_scores_and_files_are_those_of_the_checkpoint(folder, tmp_path):
    target = tmp_path / "layers.json"
    cell = measure(job_spec("pruning", pruning="layers"), folder / "cut", target)
    compared, diagnosis, layers = (
        json.loads((folder / "cut/analysis" / f"{name}.json").read_text())
        for name in ("pruning_comparison", "gradient_diagnosis", "layer_statistics")
    )
    values = {name: score.value for name, score in cell.scores.items()}
    assert values["parameters"] == compared["total_params"]["pruned"]
    assert values["pruning_ratio"] == compared["total_params"]["reduction_ratio"]
    assert values["extreme_layers"] == diagnosis["num_extreme_layers"]
    low, high = diagnosis["gradient_statistics"]["mean_range"]
    assert values["grad_mean_range"] == high - low
    assert min(layer["gradient_mean"] for layer in layers) == low
    kept = {line["file"]: line["content"] for line in read_kept(tmp_path / "layers.analysis.jsonl")}
    assert kept["pruning_comparison.json"] == compared
    assert kept["layer_statistics.json"] == layers
    assert all(layer["importance_mlp"] > 0 for layer in layers)


def test_a_checkpoint_without_such_files_does_not_apply(folder, tmp_path):
    cell = measure(job_spec("pruning", pruning="layers"), folder / "base", tmp_path / "layers.json")
    assert cell.status == "not_applicable"
    assert "leaves no files on its cut" in cell.reason
