"""A disk that fills up: one sentence, nothing half-written, nothing finished lost."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from meltpoint.errors import MeltpointError
from meltpoint.files import whole_file, whole_folder
from tests.support.project import first_outputs, pending

FULL = "the disk is full; nothing half-written was kept"
ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("whole", [whole_folder, whole_file])
def test_write_that_fails_leaves_what_was_there(tmp_path, whole, error):
    """The error is a stand-in for a full disk's, as Python and safetensors spell it."""
    target = tmp_path / "target"
    target.write_text("finished")

    def write() -> None:
        with whole(target) as partial:
            place = partial / "weights" if partial.is_dir() else partial
            place.write_text("half")
            raise error

    with pytest.raises(MeltpointError, match=f"^{target}: {FULL}") as caught:
        write()
    assert "free some space" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert target.read_text() == "finished"


def test_other_errors_keep_their_name(tmp_path):
    with pytest.raises(OSError, match="Permission denied"), whole_file(tmp_path / "x"):
        raise OSError(errno.EACCES, "Permission denied")


class Disk:
    """A file system of its own, of a few hundred kilobytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, size: int) -> None:
        self.folder.mkdir(exist_ok=True)
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
        command = ["mount", *options, str(self.folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a file system can be mounted by root alone")

    def resize(self, size: int) -> None:
        command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        subprocess.run(command, check=True)

    def fill(self, free: int) -> None:
        """Shrinks the disk to what it holds and so many bytes."""
        space = os.statvfs(self.folder)
        self.resize((space.f_blocks - space.f_bfree) * space.f_frsize + free)


@pytest.fixture
def disk(tmp_path):
    """A disk that holds nothing yet; skips where none can be mounted."""
    disk = Disk(tmp_path / "disk")
    disk.mount(2**24)
    yield disk
    subprocess.run(["umount", str(disk.folder)], check=True)


def test_numpy_on_a_full_disk(disk):
    disk.fill(2**15)

    def write() -> None:
        with whole_file(disk.folder / "tokens.npy") as partial, partial.open("wb") as file:
            np.save(file, np.zeros(2**16))

    with pytest.raises(MeltpointError, match=FULL):
        write()
    assert list(disk.folder.iterdir()) == []


def test_run_on_a_full_disk(project, everything, disk):
    """The results lie on a disk that has not the room for one more checkpoint."""
    shutil.copytree(project.folder / "results", disk.folder / "results", symlinks=True)
    shutil.rmtree(project.folder / "results")
    (project.folder / "results").symlink_to(disk.folder / "results")
    assert project.stale() == set()
    chain = "sparsegpt@0.6"
    new = {f"cells/tiny/{chain}/{name}" for name in ("checkpoint", "fixed-32.json")}
    project.edit_study(lambda study: study["chains"]["order"]["chains"].append(chain))
    for free in (2**16, 0):
        disk.fill(free)
        result = project.snakemake("--cores", "1")
        assert result.code != 0
        assert f"Error: results/tiny/cells/tiny/{chain}/checkpoint: {FULL}" in result.output
        assert "Traceback" not in result.output
    assert project.stale() == new
    assert not (project.results / f"cells/tiny/{chain}/checkpoint").exists()
    assert not list(project.results.rglob("*.partial*"))
    disk.resize(2**24)
    project.run()
    plans = project.plans()
    assert first_outputs(plans) == everything | new
    assert pending(plans) == set()
