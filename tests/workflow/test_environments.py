"""The same cells with --use-conda, with --sdm conda, and without; and what happens without a library.

No conda is needed: the one on the path is a stand-in, whose environments are links to the packages
that run the tests. So this is about Snakemake's way to them, and about ours, not about a solver
(`tests/workflow/test_env_files.py` builds the environments' packages).
"""

import shutil
import stat
import sys

import pytest

from meltpoint.evaluations.cells import Cell
from tests.support import tiny_study
from tests.support.project import Project, copy_sources

pytestmark = pytest.mark.workflow

CONDA = """#!/bin/sh
# A stand-in for conda: its environments hold whatever this Python has.
root=$(dirname "$(dirname "$0")")
case "$*" in
    "info --json") echo "{\\"conda_prefix\\": \\"$root\\", \\"platform\\": \\"linux-64\\"}" ;;
    "--version") echo "conda 99.0.0" ;;
    "config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}' ;;
    "clean "*) ;;
    "env create "*)
        while [ $# -gt 0 ]; do
            case "$1" in --prefix) prefix=$2 ;; --file) file=$2 ;; esac; shift
        done
        PYTHON -m venv --without-pip "$prefix" || exit 1
        echo PACKAGES > "$prefix"/lib/python*/site-packages/here.pth
        basename "$file" >> "$root/created" ;;
    *) echo "the stand-in for conda does not know: $*" >&2; exit 1 ;;
esac
"""
STUDY = {"chains": ["rtn@4bit", "nf4"], "evaluations": ["prose-32"]}


@pytest.fixture(scope="module")
def conda(tmp_path_factory):
    """The path with the stand-in in front."""
    root = tmp_path_factory.mktemp("conda")
    (root / "bin").mkdir()
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    command = root / "bin/conda"
    command.write_text(CONDA.replace("PYTHON", sys.executable).replace("PACKAGES", packages))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    (root / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    return root


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """The tiny study with quantization, not run yet."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    folder = tmp_path_factory.mktemp("environments") / "project"
    copy_sources(folder)
    tiny_study.write(folder / "studies")
    project = Project(folder)

    def only_chains(study):
        study["chains"] = {"quantized": {"models": ["tiny"], **STUDY}}
        for section in ("sweeps", "tables", "figures"):
            study[section] = {}

    project.edit_study(only_chains)
    return project


def cells(project):
    """All numbers of the cells, less what is measured of the job itself."""
    files = sorted(project.results.glob("cells/*/*/*.json"))
    return {str(file): Cell.read(file).model_dump(exclude={"cost"}) for file in files}


def test_the_flag_changes_no_cell(quantized, conda, tmp_path):
    path = {"PATH": f"{conda}/bin:{quantized.environment()['PATH']}"}
    quantized.run()
    without = cells(quantized)
    assert len(without) == 3
    assert quantized.stale("--use-conda", **path) == set()
    assert quantized.stale("--sdm", "conda", **path) == set()

    shutil.rmtree(quantized.results)
    result = quantized.snakemake("--cores", "2", "--use-conda", **path)
    assert result.code == 0, result.output
    created = set((conda / "created").read_text().split())
    assert len(created) >= 2
    assert cells(quantized) == without
    assert quantized.stale() == set()


def test_an_edited_environment_file_counts(quantized, conda):
    quantized.run()
    quantized.append("envs/quantization.yaml", "      - tqdm ==4.70.1\n")
    stale = {output for output in quantized.stale() if output.startswith("cells/")}
    assert stale
    assert all("nf4" in output for output in stale)


def test_a_missing_library_stops_before_anything_runs(quantized, conda):
    """Without the flag; with it the rule's environment has the library."""
    quantized.replace(
        "meltpoint/methods/nf4.py", "libraries = (", 'libraries = ("not-there-at-all", '
    )
    quantized.append("envs/quantization.yaml", "      - not-there-at-all ==1.2\n")
    path = {"PATH": f"{conda}/bin:{quantized.environment()['PATH']}"}
    shutil.rmtree(quantized.results)
    result = quantized.snakemake("-n")
    assert result.code != 0
    assert "nf4 needs not-there-at-all, which this environment does not have" in result.output
    assert "pip install not-there-at-all==1.2" in result.output
    assert quantized.snakemake("-n", "--use-conda", **path).code == 0
