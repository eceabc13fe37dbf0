"""The generated pages and the files written by hand agree with the code."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from meltpoint import evaluations, methods
from meltpoint.figures import KINDS
from meltpoint.hashing import with_imports
from meltpoint.study import config, reference
from meltpoint.study.resolved import Study
from meltpoint.workflow.job_specs import CODE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", reference.pages(), ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path):
    assert path.read_text() == reference.pages()[path], "run: python -m meltpoint.study.reference"


def studies():
    return [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]


@pytest.mark.parametrize("path", studies(), ids=lambda path: path.name)
def test_the_schema_takes_the_studies(path):
    schema = json.loads((ROOT / "resources/study.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    config.load(yaml.safe_load(path.read_text()), path.name)


def test_the_schema_refuses_what_the_models_refuse():
    schema = json.loads((ROOT / "resources/study.schema.json").read_text())
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**study, "model": {}}, schema)


def test_the_default_study_explains_every_key():
    lines = (ROOT / "config.yaml").read_text().splitlines()
    for key in config.StudyConfig.model_fields:
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{key}:"))
        assert lines[at - 1].startswith("#"), f"{key} has no comment above it"


def test_the_default_study_is_worked_out():
    study = Study(config.load(yaml.safe_load((ROOT / "config.yaml").read_text()), "x"), ROOT)
    assert len(study.checkpoints) == 92
    assert len(study.all_cells) == 128


def test_every_kind_of_figure_knows_its_code():
    assert set(KINDS) <= set(CODE)


def test_a_result_depends_on_what_its_module_imports():
    for module in CODE.values():
        assert module in with_imports([module])
    assert "meltpoint.transitions.forms" in with_imports([CODE["transitions"]])
    assert "meltpoint.figures.style" in with_imports([CODE["spread"]])
    assert "meltpoint.demo.tokenizer" in with_imports([CODE["train"]])
    assert "meltpoint.evaluations.windows" in with_imports(evaluations.find("perplexity").sources)
    assert "meltpoint.model.load" not in with_imports(evaluations.find("size").sources)
    assert "meltpoint.figures.spread" not in with_imports([CODE["curves"]])


@pytest.mark.parametrize("name", methods.registry())
def test_every_method_has_its_environment(name):
    env = yaml.safe_load((ROOT / f"envs/{methods.find(name).env}.yaml").read_text())
    pins = [p for d in env["dependencies"] if isinstance(d, dict) for p in d["pip"]]
    assert all(" ==" in pin for pin in pins)
