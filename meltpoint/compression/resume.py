"""A folder in which a job can keep what it has done so far, for the case that it is killed."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from meltpoint.hashing import hash_text


@contextlib.contextmanager
def resume_folder(target: Path, spec: str) -> Iterator[Path]:
    """Path of a folder beside `target` that outlives a killed job and is deleted when one succeeds.

    Another job spec has another folder: what was done by other settings or code is never resumed. The
    folder is made by whoever writes into it.
    """
    prefix = f".{target.name}.resume-"
    folder = target.with_name(prefix + hash_text(spec)[:16])
    for other in target.parent.glob(f"{prefix}*"):
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
