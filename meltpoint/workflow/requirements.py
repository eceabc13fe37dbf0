"""Whether the running environment holds what the study's methods need."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from meltpoint.errors import MeltpointError


def check(method: str, libraries: Iterable[str], env: Path) -> None:
    """Raises MeltpointError, with the line that installs them, where a method's packages are missing.

    `env` is the environment file that pins them.
    """
    missing = [name for name in libraries if not installed(name)]
    if missing:
        pins = pinned(env)
        raise MeltpointError(
            f"{method} needs {' and '.join(missing)}, which this environment does not have: "
            f"pip install {' '.join(pins[name] for name in missing)}  (or run with --use-conda)"
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
