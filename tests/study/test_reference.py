"""The generated pages and the files written by hand agree with the code."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from meltpoint import methods
from meltpoint.study import config, config_readme, reference
from meltpoint.study.resolved import Study

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


def test_the_example_of_the_config_page_is_a_study():
    raw = yaml.safe_load(config_readme.EXAMPLE)
    assert config.load(raw, "the example").study == "mine"
    assert len(config_readme.EXAMPLE.splitlines()) == 15


def test_the_study_of_the_readme_is_complete(tmp_path):
    text = re.search(r"```yaml\n(study: .*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    for folder in ("checkpoints/mine", "studies"):
        (tmp_path / folder).mkdir(parents=True)
    study = Study(config.load(yaml.safe_load(text), "README.md"), tmp_path / "studies")
    assert len(study.all_cells) == 22


def test_the_catalog_is_told_what_the_workflow_can_do():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"] is True
    assert usage["report"] is True
    assert "desc" in usage["mandatory-flags"]


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
    assert len(study.checkpoints) == 79
    assert len(study.all_cells) == 106


@pytest.mark.parametrize("name", methods.registry())
def test_every_method_has_its_environment(name):
    env = yaml.safe_load((ROOT / f"envs/{methods.find(name).env}.yaml").read_text())
    pins = [p for d in env["dependencies"] if isinstance(d, dict) for p in d["pip"]]
    assert all(" ==" in pin for pin in pins)
