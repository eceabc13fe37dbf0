"""The workflow as a module of another, and Snakemake's own report of it."""

import json
import zipfile

import pytest

from tests.support.project import Project

SNAKEFILE = """
configfile: "studies/tiny.yaml"


module meltpoint:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from meltpoint as meltpoint_*


rule own:
    input:
        "results/tiny/cells/tiny/dense/bits.json",
    output:
        "own.txt",
    shell:
        "cp {{input}} {{output}}"
"""


@pytest.fixture
def user(fresh, tmp_path) -> Project:
    """A project of someone else, with a study and no copy of the workflow."""
    project = Project(tmp_path / "user")
    project.folder.mkdir()
    (fresh.folder / "studies").rename(project.folder / "studies")
    text = SNAKEFILE.format(snakefile=fresh.folder / "Snakefile")
    (project.folder / "Snakefile").write_text(text)
    return project


def test_the_workflow_is_a_module_of_another(user):
    """All is planned, and a target of the other workflow is made with its scripts and code."""
    result = user.snakemake("-n", "meltpoint_all", studies=())
    assert result.code == 0, result.output
    assert "meltpoint_compress_wanda" in result.output
    result = user.snakemake("--cores", "1", "own.txt", studies=())
    assert result.code == 0, result.output
    assert json.loads((user.folder / "own.txt").read_text())["evaluation"] == "bits"
    assert (user.folder / "results/models/tiny/config.json").exists()


def test_snakemakes_report_shows_figures_tables_and_the_page(finished, tmp_path):
    target = tmp_path / "report.zip"
    result = finished.snakemake("--report", str(target), "all")
    assert result.code == 0, result.output
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        # Its own page, not that of the study in it.
        page = min((name for name in names if name.endswith("report.html")), key=len)
        text = archive.read(page).decode()
    shown = ("pruning.svg", "pruning.csv", "calibrations.csv", "report.html")
    assert all(any(name.endswith(end) for name in names) for end in shown), names
    for word in ("Figures", "Tables", "Transition points", "Pages", "bits by method and level"):
        assert word in text, word
