"""Files that are whole or absent, and their hashes."""

import contextlib
import errno
import fcntl
import glob
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from meltpoint.errors import MeltpointError

# A full disk in the words of safetensors (the first two) and of NumPy.
FULL_DISK = re.compile(r"os error 28|No space left|\d+ requested and \d+ written")
FREE = "free some space (or set keep_checkpoints: prefixes)"


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write into that becomes `target` at the end, and nothing if that fails.

    What a killed process has left of it is deleted. Raises MeltpointError while another process
    writes the same folder, on this machine or another one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with _only_writer(target):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            with clear_disk_errors(target):
                yield partial
            if target.exists():
                shutil.rmtree(target)
            os.replace(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` at the end, and nothing if that fails.

    Each writer has a path of its own, so `target` is whole whoever is the last. What killed
    processes have left is deleted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".partial.*.{glob.escape(target.name)}"):
        with _lock(left, create=False) as held:
            if held:
                left.unlink(missing_ok=True)
    partial = target.with_name(f".partial.{secrets.token_hex(4)}.{target.name}")
    with _lock(partial):
        try:
            with clear_disk_errors(target):
                yield partial
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_writer(target: Path) -> Iterator[None]:
    """Holds the lock of a folder that is written; the system gives it back if the process is killed."""
    path = target.with_name(f".{target.name}.lock")
    with _lock(path) as held:
        if held is False:
            raise MeltpointError(
                f"{target} is being written by another process: wait for the other run to end, or "
                "stop it, and run the same command again"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path: Path, create: bool = True) -> Iterator[bool | None]:
    """True with the lock of a file, False where another process has it, None where none can be had."""
    held, descriptor = None, None
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it before may have deleted the file: a lock on that one locks nothing.
            held = os.fstat(descriptor).st_nlink > 0
        except BlockingIOError:
            held = False
    try:
        yield held
    finally:
        if descriptor is not None:
            os.close(descriptor)


def sync(path: Path) -> None:
    """Waits until a file is on the disk: before another says that it is there."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def clear_disk_errors(target: Path, remedy: str = FREE) -> Iterator[None]:
    """Turns a full disk, as whichever library met it, into one sentence that ends with a remedy."""
    try:
        yield
    except MeltpointError:
        raise
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or FULL_DISK.search(str(error)):
            raise MeltpointError(
                f"{target}: the disk is full; nothing half-written was kept: {remedy} and run the "
                "same command again"
            ) from None
        raise


def write_json(target: Path, value: object) -> None:
    """Writes JSON for people and programs; NaN and infinities become strings."""
    with whole_file(target) as partial:
        partial.write_text(json.dumps(spell_numbers(value), indent=1, ensure_ascii=False) + "\n")


def spell_numbers(value: object) -> object:
    """The value with "nan", "inf" and "-inf" in the place of what JSON cannot say."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: spell_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell_numbers(item) for item in value]
    return value


def from_here(path: Path) -> Path:
    """The path relative to the working directory where it lies below it, as it is elsewhere."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
