"""A bundle: a study's cells, arrays, tables, figures and page in one archive, with checksums."""

import contextlib
import gzip
import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

from meltpoint.errors import MeltpointError
from meltpoint.files import whole_file
from meltpoint.hashing import hash_file

# File of checksums, in the format of `sha256sum --check`.
CHECKSUMS = "SHA256SUMS"
ENVIRONMENT = "environment.json"
ENDING = ".tar.gz"
# Ending of the hidden states beside a dense cell, which may be deleted and are too large for a bundle.
LEFT_OUT = ".hidden.npy"


def write_bundle(target: Path, results: Path, files: Iterable[Path], envs: Iterable[Path]) -> None:
    """Writes files of a study's results, the versions of its environment, and checksums of all.

    The archive has one folder, with the name of the results' folder. Equal files give equal bytes.
    """
    members = {str(file.relative_to(results)): file.read_bytes for file in map(Path, files)
               if not file.name.endswith(LEFT_OUT)}  # fmt: skip
    members |= {f"envs/{file.name}": file.read_bytes for file in envs}
    members[ENVIRONMENT] = lambda: json.dumps(environment(), indent=1).encode() + b"\n"
    with (
        whole_file(target) as partial,
        partial.open("wb") as raw,
        # Without a time and a name the archive's bytes depend on its content alone.
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        add_members(archive, results.name, members)


def add_members(archive: tarfile.TarFile, folder: str, members: Mapping) -> None:
    """Adds files by name, from functions that return their bytes, and their checksums at the end."""
    lines = []
    for name in sorted(members):
        content = members[name]()
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        add(archive, f"{folder}/{name}", content)
    add(archive, f"{folder}/{CHECKSUMS}", "".join(lines).encode())


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Adds a file without owner and time, so that the archive depends on contents alone."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def environment() -> dict:
    """Versions of Python, of the system and of all installed packages."""
    packages = {each.metadata["Name"]: each.version for each in distributions()}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Context with the folder of a study's results: the path itself, or an unpacked bundle.

    Raises MeltpointError for a path that is neither a folder nor a bundle.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield unpacked(path, Path(folder))


def unpacked(path: Path, folder: Path) -> Path:
    """Path of the bundle's folder, unpacked into `folder`; raises MeltpointError for no bundle."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            # With this filter nothing is written outside the folder, and links and devices are refused.
            archive.extractall(folder, filter="data")
    except (OSError, EOFError, tarfile.TarError):
        raise MeltpointError(
            f"{path} is neither a folder of results nor a bundle ({ENDING}) that can be read"
        ) from None
    inside = list(folder.iterdir())
    if len(inside) != 1 or not inside[0].is_dir():
        raise MeltpointError(
            f"{path} is no bundle: it holds {len(inside)} things beside each other"
        )
    return inside[0]


def check_sums(results: Path) -> int:
    """Number of files with checksums, all of which are right; 0 for a folder without checksums.

    Raises MeltpointError, naming the first file that is missing or was changed.
    """
    sums = results / CHECKSUMS
    if not sums.exists():
        return 0
    lines = [line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines()]
    for checksum, name in lines:
        file = results / name
        if not file.is_file():
            raise MeltpointError(f"{name} is missing from the bundle, whose {CHECKSUMS} names it")
        if hash_file(file) != checksum:
            raise MeltpointError(f"{name} was changed: its checksum is not the one in {CHECKSUMS}")
    return len(lines)
