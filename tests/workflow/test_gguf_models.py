"""Base models of GGUF files, local ones and those in packages, through the workflow."""

import hashlib

import pytest

pytest.importorskip("gguf", reason="gguf is not installed")

from meltpoint.evaluations.cells import Cell
from tests.support import tiny_gguf, tiny_study
from tests.support.project import Project, copy_sources
from tests.support.wheels import offline_index, write_wheel

pytestmark = pytest.mark.workflow
MODELS = ("local", "packed")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The tiny study on one model twice: out of a file, and out of a package that holds the file."""
    folder = tmp_path_factory.mktemp("gguf") / "project"
    copy_sources(folder)
    tiny_study.write(folder / "studies")
    file = folder / "studies/tiny.gguf"
    tiny_gguf.write(file)
    files = {"tiny_model/tiny.gguf": file.read_bytes()}
    sha256 = write_wheel(folder / "index", "tiny-model", "1.0", files)
    package = {"package": "tiny-model", "version": "1.0", "sha256": sha256}

    def edit(study):
        study["models"] = {
            "local": {"gguf": "tiny.gguf"},
            "packed": {**package, "file": "tiny_model/tiny.gguf"},
        }
        chains = {"models": list(MODELS), "chains": ["rtn@4bit,group_size=32"]}
        study["chains"] = {"both": {**chains, "evaluations": ["prose-32"]}}
        study["tables"] = {"both": {"source": "both", "value": "prose-32"}}
        study["sweeps"] = study["figures"] = {}

    project = Project(folder)
    project.edit_study(edit)
    return project


def test_both_are_run_and_give_the_same_numbers(project):
    environment = offline_index(project.folder / "index", project.folder / "cache")
    result = project.snakemake("--cores", "2", **environment)
    assert result.code == 0, result.output
    for chain in ("dense", "rtn@4bit,group_size=32"):
        one, other = (cell_of(project, model, chain) for model in MODELS)
        assert one.scores == other.scores
        assert one.protocol["base_quantization"]["grids"]["Q4_1"]["bits"] == 4
    assert project.stale() == set()


def cell_of(project, model, chain):
    return Cell.read(project.results / f"cells/{model}/{chain}/prose-32.json")


def test_the_table_of_quantization_has_the_footnote(project):
    table = (project.results / "tables/both.md").read_text()
    assert table.count("come from Q4_1 (4 bits, groups of 32)") == 1
    assert "<sup>a</sup>" in table


def test_a_moved_file_is_not_stale_and_another_content_is(project):
    """After the first test has run the study."""
    file = project.folder / "studies/tiny.gguf"
    moved = file.rename(file.with_name("moved.gguf"))
    project.edit_study(lambda study: study["models"].update(local={"gguf": "moved.gguf"}))
    assert project.stale() == set()
    moved.write_bytes(moved.read_bytes() + b"more")
    assert any("local" in output for output in project.stale())
    assert not any("packed" in output for output in project.stale())


def test_a_package_of_another_hash_ends_the_run_with_its_sentence(project):
    """A hash of the right form, of nothing."""
    wrong = hashlib.sha256(b"").hexdigest()
    project.edit_study(lambda study: study["models"]["packed"].update(sha256=wrong))
    environment = offline_index(project.folder / "index", project.folder / "cache")
    result = project.snakemake("results/models/packed", "--cores", "1", **environment)
    assert result.code != 0
    assert "models.packed.sha256: the wheel of tiny-model 1.0 that the index has" in result.output
