"""What every kind of evaluation owes, and how a file that declares too little is refused."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from meltpoint import evaluations
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.contract import EvaluationSettings, Needs, ScoreSpec
from meltpoint.resources import Resources
from tests.support.project import ROOT

KINDS = list(evaluations.registry())


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_read_without_libraries(name):
    heavy = {"torch", "transformers", "numpy", "pandas"}
    code = (
        f"import sys, meltpoint.evaluations as e; k = e.find({name!r}); k.scores(k.example); "
        f"k.needs(k.example); print(sorted({heavy} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_what_its_scores_are(name):
    kind = evaluations.find(name)
    scores = kind.scores(kind.example)
    assert scores
    for key, spec in scores.items():
        assert key == spec.name
        assert spec.better in ("lower", "higher")
        assert spec.unit
        assert spec.label


@pytest.mark.parametrize("name", KINDS)
def test_any_score_may_be_the_main_one(name):
    kind = evaluations.find(name)
    for score in kind.scores(kind.example):
        settings = kind.settings_class(**kind.module.example, main=score)
        assert next(iter(kind.scores(settings))) == score
        assert set(kind.scores(settings)) == set(kind.scores(kind.example))


@pytest.mark.parametrize("name", KINDS)
def test_a_cell_s_protocol_gives_the_settings_back(name):
    kind = evaluations.find(name)
    protocol = {**kind.example.model_dump(mode="json"), "dtype": "float32", "engine": "x"}
    assert kind.settings_of(protocol) == kind.example
    assert evaluations.kind_of(kind.example) == kind


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_documented(name):
    kind = evaluations.find(name)
    assert kind.summary
    for key, field in kind.settings_class.model_fields.items():
        assert field.description.endswith("."), f"{name}.{key}: a description is a sentence"
        assert field.description[0].isupper()
    for function in (kind.module.measure, kind.settings_class):
        assert function.__doc__


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_s_environment_and_code_are_there(name):
    kind = evaluations.find(name)
    assert (ROOT / f"envs/{kind.env}.yaml").exists()
    for source in kind.sources:
        assert importlib.util.find_spec(source)


@pytest.mark.parametrize("name", KINDS)
def test_old_values_are_read_as_what_they_mean(name):
    kind = evaluations.find(name)
    for meaning in kind.old_values.values():
        settings = kind.settings_class(**{**kind.module.example, **meaning})
        assert settings.main == next(iter(kind.scores(settings)))


class Settings(EvaluationSettings):
    """Settings of a kind that exists in this test alone."""

    toy: str


def toy(**declared) -> ModuleType:
    module = ModuleType("meltpoint.evaluations.toy", "Toy: a number.")
    complete = {
        **{"Settings": Settings, "example": {"toy": "c"}, "measure": lambda *_: None},
        "scores": (ScoreSpec("n", "things", "lower", "things"),),
    }
    vars(module).update({k: v for k, v in {**complete, **declared}.items() if v is not None})
    return module


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"Settings": None}, "an evaluation declares 'Settings'"),
        ({"scores": None}, "an evaluation declares 'scores'"),
        ({"measure": None}, "an evaluation declares 'measure'"),
        ({"example": None}, "an evaluation declares 'example'"),
        ({"Settings": dict}, "Settings is a class of EvaluationSettings"),
        ({"Settings": EvaluationSettings}, "Settings needs a field 'toy'"),
    ],
)
def test_a_file_that_declares_too_little_is_refused(declared, message, monkeypatch):
    module = toy(**declared)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(MeltpointError, match=rf"evaluations/toy\.py: {message}"):
        evaluations._load("toy")


def test_what_a_file_does_not_say_has_a_default(monkeypatch):
    module = toy()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kind = evaluations._load("toy")
    assert (kind.env, kind.keeps, kind.compute) == ("torch", (), ("dtype",))
    assert kind.resources == Resources()
    assert (kind.opens_engine, kind.computes, kind.alone, kind.own_kernels) == (
        *(True, True),
        *(False, False),
    )
    assert kind.needs(kind.example) == Needs()
    assert kind.old_values == {}


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(MeltpointError, match="unknown kind of evaluation 'sizes': did you mean"):
        evaluations.find("sizes")


def test_what_is_needed_is_found_among_the_tokens():
    assert Needs().token_files("t") == {}
    assert Needs(tokens="a", documents="b").token_files("t") == {
        **{"tokens": "t/a.npy", "token_ends": "t/a.ends.npy"},
        **{"documents": "t/b.documents.npy", "document_offsets": "t/b.documents.offsets.npy"},
    }
    perplexity = evaluations.find("perplexity")
    assert perplexity.files_beside("cells/m/dense/a.b.json") == [
        f"cells/m/dense/a.b.{ending}" for ending in ("nll.npy", "kl.npy", "fidelity.npy")
    ]
