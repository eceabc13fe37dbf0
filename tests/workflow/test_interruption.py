"""A run that is killed, and started again."""

import contextlib
import os
import shutil
import signal
import subprocess

import psutil
import pytest

from tests.support import hanging
from tests.support.fingerprint import fingerprint
from tests.support.project import first_outputs, pending

# About a second of calibration: long enough to be killed in the middle of it.
CHAIN = "sparsegpt@0.5,length=64,samples=4000"
LOST = "wanda@0.5,calibration=given"


@pytest.fixture
def begun(project):
    """The finished study with one cell lost and a slow chain added."""
    shutil.rmtree(project.results / f"cells/tiny/{LOST}")
    project.edit_study(lambda study: study["chains"]["calibrations"]["chains"].append(CHAIN))
    return project


def kill_all(process: subprocess.Popen) -> None:
    """Kills a process, its group and all that have come from it, and waits for them."""
    root = psutil.Process(process.pid)
    family = [root, *root.children(recursive=True)]
    os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=hanging.SECONDS)
    assert not alive


def test_killed_run_resumes_to_the_same_bytes(begun, tmp_path, everything):
    """SIGKILL while a checkpoint is being written, then --unlock and the same command."""
    undisturbed = begun.copy(tmp_path / "undisturbed")
    undisturbed.run()
    checkpoint = begun.results / f"cells/tiny/{CHAIN}/checkpoint"
    partial = checkpoint.with_name(".checkpoint.partial")
    process = subprocess.Popen(
        begun.command("--cores", "2"),
        cwd=begun.folder,
        env=begun.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # The first shard may be long in coming: the embeddings are written last.
    hanging.wait_for(partial.is_dir, process)
    kill_all(process)
    assert partial.is_dir()
    assert not (checkpoint / "meltpoint.json").exists()

    locked = begun.snakemake("--cores", "2")
    assert locked.code != 0
    assert "--unlock" in locked.output
    assert begun.snakemake("--unlock").code == 0
    lost, other = (
        {f"cells/tiny/{chain}/{name}" for name in ("checkpoint", "bits.json")}
        for chain in (CHAIN, LOST)
    )
    # The other cell may have been finished before; the table shows both.
    assert lost <= begun.stale() <= lost | other | {"tables/calibrations.csv"}
    begun.run()
    assert not partial.exists()
    plans = begun.plans()
    assert pending(plans) == set()
    assert first_outputs(plans) == everything | lost
    assert fingerprint(begun.results) == fingerprint(undisturbed.results)
