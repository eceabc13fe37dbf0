"""A study's results are verified, and packed for another machine."""

import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from meltpoint.verify.record import Record
from tests.support import hanging
from tests.support.project import ROOT


def verify(path, cwd) -> subprocess.CompletedProcess:
    """Runs the command in a folder that has the code alone."""
    command = [sys.executable, "-m", "meltpoint.verify", str(path)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=hanging.SECONDS
    )


def test_the_results_of_a_run_are_verified(finished, tmp_path):
    record = Record.read(finished.results)
    assert set(record.tables) == {"pruning", "calibrations"}
    assert list(record.transitions) == ["pruning"]
    run = verify(finished.results, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "no difference" in run.stdout


def test_a_bundle_goes_to_another_machine(project, tmp_path):
    project.run("bundle")
    bundle = tmp_path / "moved.tar.gz"
    shutil.copy(project.results / "bundle.tar.gz", bundle)
    with tarfile.open(bundle) as archive:
        names = archive.getnames()
    assert "tiny/cells/tiny/dense/prose-32.nll.npy" in names
    assert "tiny/report.html" in names
    assert not any("checkpoint" in name or "hidden" in name for name in names)
    project.folder.rename(tmp_path / "gone")
    run = verify(bundle, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "checksums as they should be" in run.stdout


@pytest.mark.parametrize("chain", ["dense", "wanda@0.5"])
def test_an_array_that_was_changed_is_found(project, tmp_path, chain):
    path = project.results / f"cells/tiny/{chain}/prose-32.nll.npy"
    np.save(path, np.load(path) + 0.01)
    run = verify(project.results, tmp_path)
    assert run.returncode == 1
    assert f"The first: cells/tiny/{chain}/prose-32.json: perplexity is" in run.stderr
