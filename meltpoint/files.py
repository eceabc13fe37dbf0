"""Files that are whole or absent, and their hashes."""

import ast
import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from meltpoint.errors import MeltpointError

# A full disk in the words of safetensors (the first two) and of NumPy.
FULL_DISK = re.compile(r"os error 28|No space left|\d+ requested and \d+ written")


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write into that becomes `target` at the end, and nothing if that fails."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with clear_disk_errors(target):
            yield partial
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` at the end, and nothing if that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial.{target.name}")
    try:
        with clear_disk_errors(target):
            yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def clear_disk_errors(target: Path) -> Iterator[None]:
    """Turns a full disk, as whichever library met it, into one sentence."""
    try:
        yield
    except MeltpointError:
        raise
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or FULL_DISK.search(str(error)):
            raise MeltpointError(
                f"{target}: the disk is full; nothing half-written was kept: free some space (or "
                "set keep_checkpoints: prefixes) and run the same command again"
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


def with_neighbours(module: str) -> list[str]:
    """A module and those of its own subpackage that it imports, directly or not.

    One that lies in no subpackage has no neighbours.
    """
    package = module.rpartition(".")[0]
    return with_imports(module, package) if "." in package else [module]


def with_imports(module: str, package: str) -> list[str]:
    """A module and those of a package that it imports, directly or not."""
    found, ahead = [], [module]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.append(name)
            ahead += [near for near in _imports(name) if near.startswith(f"{package}.")]
    return sorted(found)


def _imports(module: str) -> list[str]:
    """The modules that a module's import statements name."""
    names = []
    for node in ast.walk(ast.parse(_path(module).read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            both = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            names += [name for name in both if _path(name)]
    return names


def _path(module: str) -> Path | None:
    """A module's file, found without importing anything; None for what is no module of ours."""
    path = Path(__file__).parent.parent.joinpath(*module.split("."))
    file = path.with_suffix(".py")
    return file if file.is_file() else None


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


def from_here(path: Path) -> Path:
    """The path relative to the working directory where it lies below it, as it is elsewhere."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
