"""What pip takes for packages and for all that they need, by the metadata of what is installed."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement


def normal(name: str) -> str:
    """Name of a package as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(names: Iterable[str]) -> dict[str, str | None]:
    """Versions, by normal name, of packages and of all that they need; None of what is not installed.

    A requirement with extras (`name[extra]`) takes what those need too.
    """
    found: dict[str, str | None] = {}
    seen, ahead = set(), [(normal(name), "") for name in names]
    while ahead:
        name, extra = each = ahead.pop()
        if each in seen:
            continue
        seen.add(each)
        found[name], requirements = of_package(name)
        for needed in requirements:
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                ahead += [(normal(needed.name), part) for part in ("", *needed.extras)]
    return found


@cache
def of_package(name: str) -> tuple[str | None, tuple[Requirement, ...]]:
    """Version and requirements of a package; None and none of one that is not installed."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return None, ()
    return package.version, tuple(map(Requirement, package.requires or ()))
