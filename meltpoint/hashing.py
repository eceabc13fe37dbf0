"""Hashes of values and files, by which a result knows whether it is stale."""

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from meltpoint.files import write_json


def canonical_json(value: object) -> str:
    """JSON of a value, one text for equal values: how job specs are compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_text(text: str) -> str:
    """sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


class HashCache:
    """Hashes of files, remembered by their size and time so that a large file is read once.

    A touched file is read again, and has the same hash.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            entries = json.loads(path.read_text()).items()
            self.known = {key: entry for key, entry in entries if _is_entry(entry)}

    def file(self, path: Path) -> str:
        """Hash of a file's content, computed anew if its size, time of change or inode differ."""
        stat = path.stat()
        key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        entry = self.known.get(key)
        if not entry or entry[:3] != stamp:
            self.known[key] = entry = [*stamp, hash_file(path)]
            self._save()
        return entry[3]

    def folder(self, path: Path, patterns: Iterable[str]) -> str:
        """A hash of a folder's files (not of those in folders in it), by name and content.

        Files that no pattern fits, and those whose names begin with a dot, do not count.
        """
        files = {file for pattern in patterns for file in path.glob(pattern) if file.is_file()}
        names = sorted(file.name for file in files if file.name[0] != ".")
        return hash_text("\n".join(f"{name} {self.file(path / name)}" for name in names))

    def _save(self) -> None:
        with contextlib.suppress(OSError):
            write_json(self.path, self.known)


def _is_entry(entry: object) -> bool:
    """True for size, time, inode and hash of a file."""
    kinds = (int, int, int, str)
    return isinstance(entry, list) and tuple(map(type, entry)) == kinds
