"""A package index of one folder: wheels that pip finds there, and that hold no code."""

import zipfile
from pathlib import Path

from meltpoint.hashing import hash_file


def write_wheel(folder: Path, package: str, version: str, files: dict[str, bytes]) -> str:
    """Writes a wheel with these files; returns its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{package.replace('-', '_')}-{version}"
    described = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, content in described.items():
            archive.writestr(f"{stem}.dist-info/{name}", content)
    return hash_file(wheel)


def offline_index(folder: Path, cache: Path) -> dict[str, str]:
    """Environment in which pip looks into the folder alone, and packages are kept in `cache`."""
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}
    return {**pip, "MELTPOINT_CACHE": str(cache)}
