"""The section of a study that has a parameter search analysed: its files, and what is refused."""

import copy
from pathlib import Path

import pytest
import yaml

from meltpoint.errors import MeltpointError
from meltpoint.study import config, parameter_search
from meltpoint.study.resolved import Study

ROOT = Path(__file__).parents[2]


def study_of(file: str, **changes: object) -> Study:
    raw = yaml.safe_load((ROOT / "studies" / file).read_text())
    for keys, value in changes.items():
        part, *parents, last = raw, *keys.split("__")
        for key in parents:
            part = part[key]
        part[last] = copy.deepcopy(value)
    return Study(config.load(raw, file), ROOT / "studies")


@pytest.mark.parametrize(
    ("file", "runs", "models"), [("demo-search.yaml", 45, 2), ("parameter-search.yaml", 90, 3)]
)
def test_the_shipped_searches_have_the_published_grid(file, runs, models):
    study = study_of(file)
    varied = parameter_search.runs(study)
    assert len(varied) == runs
    assert {run["pruning_method"] for run in varied.values()} == {
        *("taylor", "layerwise", "blockwise")
    }
    assert {run["taylor_seq_len"] for run in varied.values()} == {16, 32, 64, 128, 256}
    assert {run["taylor_num_samples"] for run in varied.values()} == {128, 256, 512}
    files = parameter_search.outputs(study)
    assert sum(file.endswith("best_config.json") for file in files) == 2 * models
    assert any(file.startswith("consolidated_") and "_20/" in file for file in files)


WRONG = [
    ({"parameter_search__source": "nowhere"}, "undefined .*'nowhere'"),
    ({"sweeps__grid__levels": [0.2, 0.3]}, "several methods or levels"),
    ({"parameter_search__method": "priro"}, "'priro' is no setting of hgsp: did you mean 'prior'"),
    ({"parameter_search__perplexity": "layers"}, "layers is no perplexity"),
    ({"parameter_search__layers": "docs-256"}, "docs-256 is no evaluation of pruning"),
    ({"parameter_search__accuracy": "docs-256"}, "docs-256 is no evaluation of tasks"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG)
def test_what_is_no_search_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        study_of("demo-search.yaml", **changes)
