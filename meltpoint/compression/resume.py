"""A folder in which a job keeps its progress, so that it can continue after it was killed."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from meltpoint.hashing import hash_text


def resume_path(target: Path, spec: str) -> Path:
    """Path of the folder beside `target` in which a job of this spec keeps what it has done."""
    return target.with_name(f"{_prefix(target)}{hash_text(spec)[:16]}")


def _prefix(target: Path) -> str:
    return f".{target.name}.resume-"


@contextlib.contextmanager
def resume_folder(target: Path, spec: str) -> Iterator[Path]:
    """Path of a folder beside `target` that outlives a killed job and is deleted when one succeeds.

    Each job spec has a folder of its own, so a job never resumes the work of other settings or code.
    The code that writes into the folder makes it.
    """
    folder = resume_path(target, spec)
    for other in target.parent.glob(f"{_prefix(target)}*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    try:
        yield folder
    except BaseException:
        # Nothing was kept.
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)
