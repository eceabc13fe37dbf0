"""An evaluation's folder of documents: checked with the study, hashed into the job spec."""

import shutil
from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.hashing import HashCache
from meltpoint.study import config as schema
from meltpoint.study.resolved import Study
from meltpoint.workflow.job_specs.study import JobSpecs
from tests.support.project import ROOT

FILE = Path("lawbench/zero_shot/1-1.json")


def study_in(folder: Path, **keys: object) -> Study:
    raw = {
        "study": "s",
        "models": {"m": {"hub": "a/b", "revision": "0" * 40}},
        "evaluations": {"law": {"lawbench": ["1-1"], **keys}},
        "chains": {"dense": {"models": ["m"], "chains": ["dense"], "evaluations": ["law"]}},
    }
    return Study(schema.load(raw, "s.yaml"), folder)


def spec(study: Study, tmp_path: Path):
    specs = JobSpecs(study, ROOT / "envs", HashCache(tmp_path / "hashes.json"))
    return specs.evaluation("m", "dense", "law")


@pytest.fixture
def data(tmp_path) -> Path:
    file = tmp_path / "tasks" / FILE
    file.parent.mkdir(parents=True)
    file.write_text("[]", encoding="utf-8")
    return tmp_path / "tasks"


def test_a_changed_file_counts_and_a_moved_folder_does_not(data, tmp_path):
    before = spec(study_in(tmp_path, data="tasks"), tmp_path)
    assert list(before.data) == [str(FILE)]
    assert "data" not in before.settings
    shutil.copytree(data, tmp_path / "elsewhere")
    (tmp_path / "elsewhere/another.json").write_text("1", encoding="utf-8")
    assert spec(study_in(tmp_path, data="elsewhere"), tmp_path).json() == before.json()
    (data / FILE).write_text("[1]", encoding="utf-8")
    assert spec(study_in(tmp_path, data="tasks"), tmp_path).json() != before.json()


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({}, r"evaluations\.law\.data: name the folder that holds lawbench/zero_shot/1-1\.json"),
        ({"data": "nowhere"}, r"evaluations\.law\.data: nowhere does not exist"),
        ({"data": "file"}, r"evaluations\.law\.data: file is a file, a folder is needed"),
        ({"data": "empty"}, r"evaluations\.law\.data: empty has no lawbench/zero_shot/1-1\.json"),
    ],
)
def test_a_folder_without_the_files_is_refused_with_the_study(tmp_path, keys, sentence):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(MeltpointError, match=sentence):
        study_in(tmp_path, **keys)
