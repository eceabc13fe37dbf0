"""Cache of the names and code hashes of modules, so that an unchanged module is parsed once."""

import contextlib
import json
from pathlib import Path

from meltpoint.files import write_json
from meltpoint.hashing import hash_text


class CodeCache:
    """Entries by module, each with the hash of the source that it was found in.

    path: a JSON file. It is written where its folder exists: in a folder that Snakemake has run in.
    finder: the source of the code that makes the entries. Entries that other code has made are dropped.
    """

    def __init__(self, path: Path, finder: str) -> None:
        self.path, self.finder, self.is_saved = path, hash_text(finder), True
        self.entries: dict[str, list] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            content = json.loads(path.read_text())
            if content.get("finder") == self.finder:
                self.entries = content["entries"]

    def get(self, module: str, source: str) -> tuple[list[str], str] | None:
        """Names and code hash found in this source of a module; None where it is not known."""
        entry = self.entries.get(module)
        return (entry[1], entry[2]) if entry and entry[0] == hash_text(source) else None

    def put(self, module: str, source: str, names: list[str], code: str) -> None:
        """Remembers what was found in a module's source, in the place of an earlier source's."""
        self.entries[module] = [hash_text(source), names, code]
        self.is_saved = False

    def save(self) -> None:
        """Writes what is new to the file, for the next run."""
        if not self.is_saved and self.path.parent.is_dir():
            with contextlib.suppress(OSError):
                write_json(self.path, {"finder": self.finder, "entries": self.entries})
            self.is_saved = True
