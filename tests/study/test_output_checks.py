"""What a table or figure names and the study does not have is said before anything runs."""

from pathlib import Path

import pytest
import yaml

from meltpoint.errors import MeltpointError
from meltpoint.study import config
from meltpoint.study.resolved import Study
from tests.support.shipped_studies import with_tasks
from tests.support.small_study import SMALL

ROOT = Path(__file__).parents[2]


def study(tables=None, figures=None, transitions=()):
    """A sweep of two methods with three seeds, and the tables or figures on it."""
    raw = {
        **SMALL,
        "sweeps": {
            "p": {
                "models": ["m"],
                "methods": ["wanda", "magnitude"],
                "levels": [0.5],
                "settings": {"seed": [0, 1, 2]},
                "evaluations": ["e"],
                "transitions": list(transitions),
            }
        },
        "tables": {"t": {"source": "p", "value": "e", **tables}} if tables else {},
        "figures": {"f": {"source": "p", "value": "e", **figures}} if figures else {},
    }
    return Study(config.load(raw, "s.yaml"), ROOT)


SPREAD = {"kind": "spread", "x": "method"}
PUBLISHED = {"published": "mpt_unstructured_ppl"}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"average_over": "sead"},
            r"t\.average_over: 'sead' is no setting.*did you mean 'seed'",
        ),
        (
            {"average_over": "samples"},
            r"t\.average_over: 'samples' is no setting that is swept",
        ),
        (
            {"labels": {"wnda": "W"}, "average_over": "seed"},
            r"tables\.t\.labels: 'wnda' is no row.*did you mean 'wanda",
        ),
        ({"layout": "tasks"}, r"tables\.t\.value: e keeps no answers of documents"),
        ({"compare_with": {"wonda": "Wanda"}, **PUBLISHED}, r"compare_with: 'wonda' is no row"),
        (
            {"compare_with": {"wanda": "Wonda"}, **PUBLISHED},
            r"'Wonda' is no method of mpt_.*'Wanda'",
        ),
    ],
)
def test_a_table_names_what_is_there(tables, message):
    with pytest.raises(MeltpointError, match=message):
        study(tables=tables)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({**SPREAD, "average_over": "sead"}, r"figures\.f\.average_over: 'sead' is no setting"),
        ({**SPREAD, "x": "colour"}, r"figures\.f\.x: 'colour' is no setting that is swept"),
        ({"kind": "tasks"}, r"figures\.f\.value: e keeps no answers of documents"),
        (
            {"kind": "tradeoff", "published_column": "arc_e", **PUBLISHED},
            r"figures\.f\.published_column: 'arc_e' is no column to compare with",
        ),
        ({"labels": {"wnda": "W"}}, r"figures\.f\.labels: 'wnda' is no row"),
        ({"published": "mpt_unstructured_pp"}, r"unknown published table: did you mean"),
    ],
)
def test_a_figure_names_what_is_there(figures, message):
    with pytest.raises(MeltpointError, match=message):
        study(figures=figures)


def test_what_is_there_is_taken():
    rows = {"wanda": "W", "magnitude": "M"}
    study(
        tables={"average_over": "seed", "labels": rows, "compare_with": {"W": "Wanda"}, **PUBLISHED}
    )
    study(tables={"labels": {"wanda,seed=0": "W"}})
    study(figures={**SPREAD, "average_over": "seed", "labels": rows})


@pytest.mark.parametrize(
    "file", ["config.yaml", *sorted(f.name for f in (ROOT / "studies").iterdir())]
)
def test_every_study_of_the_project_names_what_is_there(file):
    path = ROOT / file if file == "config.yaml" else ROOT / "studies" / file
    raw = yaml.safe_load(path.read_text())
    if file == "tiny-real.yaml" and not (ROOT.parent / "shared").exists():
        pytest.skip("the models and texts of tiny-real (shared/data) are not here")
    with_tasks(raw, file)
    Study(config.load(raw, file), path.parent)


@pytest.mark.parametrize(
    ("scores", "figure", "message"),
    [
        (["e.kll"], {}, r"sweeps\.p\.transitions: 'e' has no score 'kll': did you mean 'e\.kl'"),
        (["e.bits_per_byte"], {}, r"sweeps\.p\.transitions: no law is known for e\.bits_per_byte"),
        (["f"], {}, r"sweeps\.p\.transitions: p is not evaluated on 'f'"),
        (
            [],
            {"value": "e.kl"},
            r"f\.fit: no curve of e\.kl is fitted: name it in sweeps\.p\.trans",
        ),
    ],
)
def test_only_scores_with_a_law_are_fitted(scores, figure, message):
    with pytest.raises(MeltpointError, match=message):
        study(figures={"fit": "transition", **figure}, transitions=scores)


def test_scores_that_are_fitted_have_their_full_names():
    named = study(figures={"fit": "transition", "value": "e.kl"}, transitions=["e.kl", "e"])
    assert named.fitted("p") == ["e.perplexity", "e.kl"]
    assert len(named.fitted_cells("p")) == 5
