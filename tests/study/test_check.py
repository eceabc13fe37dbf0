"""The check of a study's file, which names the line of what is no YAML."""

import subprocess
import sys

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.study.check import check_keys, read_yaml
from tests.support.project import ROOT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "study: x\nmodels:\n  a: {path: y\ncorpora: [1\n",
            "line 4, column 8: no valid YAML: expected",
        ),
        ("study: x\n\tmodels: 1\n", "line 2, column 1: no valid YAML: found character"),
        ("study: 'x\n", "no valid YAML"),
        ("- a\n", "a study is a list of keys"),
    ],
)
def test_a_broken_file_names_its_line(tmp_path, content, message):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(MeltpointError, match=message) as caught:
        read_yaml(tmp_path / "a.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'a.yaml'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tables:\n  a: {}\nfigures: {}\ntables:\n  b: {}\n", "tables: .* in lines 1 and 4"),
        ("tables:\n  a: {}\n  b: {}\n  a: {}\n", "tables.a: .* in lines 2 and 4"),
        ("a: [{x: 1}, {y: 1, y: 2}]\n", "a.y: .* in lines 1 and 1"),
        ('{"study": "x",\n "study": "y"}', "study: .* in lines 1 and 2"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path, content, message):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(MeltpointError, match=f"^{message}"):
        check_keys(tmp_path / "a.yaml")


def test_a_merged_key_may_be_there_again(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: [*a, *a]\n")
    check_keys(tmp_path / "a.yaml")


def test_the_default_study_is_one(tmp_path):
    command = [sys.executable, "-m", "meltpoint.study.check"]
    fine = subprocess.run([*command, "config.yaml"], cwd=ROOT, capture_output=True, text=True)
    assert fine.returncode == 0, fine.stderr
    (tmp_path / "a.yaml").write_text("study: [")
    broken = subprocess.run(
        [*command, tmp_path / "a.yaml"], cwd=ROOT, capture_output=True, text=True
    )
    assert broken.returncode == 1
    assert broken.stderr.startswith(
        f"Error: {tmp_path / 'a.yaml'}, line 1, column 9: no valid YAML"
    )
