"""Whether the running environment holds what the study's methods need."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from meltpoint.errors import MeltpointError


def check(needed: Iterable[tuple[str, Iterable[str], Path]]) -> None:
    """Raises MeltpointError, with the line that installs them, where packages are missing.

    needed: of each method its name, its packages, and the environment file that pins them.
    """
    sentences, lines = [], []
    for method, libraries, env in needed:
        missing = [name for name in libraries if not installed(name)]
        if missing:
            pins = pinned(env)
            sentences.append(f"{method} needs {' and '.join(missing)}")
            lines += [pins[name] for name in missing]
    if sentences:
        raise MeltpointError(
            f"{', '.join(sentences)}, which this environment does not have: pip install "
            f"{' '.join(dict.fromkeys(lines))}  (or run with --use-conda)"
        )


def installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def pinned(env: Path) -> dict[str, str]:
    """The packages that pip installs in an environment, by name, as pip takes them."""
    parts = yaml.safe_load(env.read_text())["dependencies"]
    lines = next(part["pip"] for part in parts if isinstance(part, dict))
    return {re.split(r"[ =<>]", line)[0]: line.replace(" ", "") for line in lines}
