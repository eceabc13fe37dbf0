"""Hashes: of values, files and code, by which a result knows whether it is stale."""

import ast
import contextlib
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from meltpoint.files import write_json


def canonical_json(value: object) -> str:
    """One spelling for equal values: what a recipe is compared by."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hash_sources(modules: Iterable[str]) -> str:
    """A hash of modules' code that comments, docstrings and layout do not change."""
    return hash_text("\0".join(f"{name}\n{_code(name)}" for name in sorted(set(modules))))[:16]


def with_imports(modules: Iterable[str], without: tuple[str, ...] = ()) -> list[str]:
    """The modules and all of Meltpoint's that they import, directly or not, functions' imports too.

    Modules in `without`, or in a package that it names, are left out with what they import.
    """
    found: set[str] = set()
    ahead = list(modules)
    while ahead:
        name = ahead.pop()
        if name in found or any(name == part or name.startswith(f"{part}.") for part in without):
            continue
        found.add(name)
        ahead += _imports(name)
    return sorted(found)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """The modules of Meltpoint that a module's import statements name."""
    names = []
    for node in ast.walk(ast.parse(_path(module).read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.startswith("meltpoint.") and _path(name))


def _path(module: str) -> Path | None:
    """A module's file, found without importing anything; None for what is no module of ours."""
    path = Path(__file__).parent.parent.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _code(module: str) -> str:
    tree = ast.parse(_path(module).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body[:1] = []
    return ast.unparse(tree)


class HashCache:
    """Hashes of files, remembered by their size and time so that a large file is read once.

    A touched file is read again, and has the same hash.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.known = json.loads(path.read_text())
        except (OSError, ValueError):
            self.known = {}

    def file(self, path: Path) -> str:
        stat = path.stat()
        key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        entry = self.known.get(key)
        if not entry or entry[:3] != stamp:
            self.known[key] = entry = [*stamp, hash_file(path)]
            self._save()
        return entry[3]

    def folder(self, path: Path) -> str:
        """A hash of a folder's files (not of those in folders in it), by name and content."""
        names = sorted(f.name for f in path.iterdir() if f.is_file() and f.name[0] != ".")
        return hash_text("\n".join(f"{name} {self.file(path / name)}" for name in names))

    def _save(self) -> None:
        with contextlib.suppress(OSError):
            write_json(self.path, self.known)
