"""Progress of long loops: a bar on a terminal, nothing in a log."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """The items, with a bar while they go by where standard error is a terminal."""
    return tqdm(items, desc=description, total=total, leave=False, disable=None, delay=1)
