"""Where a job's time goes: seconds of importing, loading and computing, for the log."""

import contextlib
import functools
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

seconds: Counter[str] = Counter()
_start = time.perf_counter()


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Counts the time of what is done in it."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - start


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """The phase "import" of a job, which imports without collections of garbage.

    What is imported stays to the end. So it leaves the collector's sight, which otherwise reads it
    again and again, and once more when the process ends. For scripts only: garbage that is there
    already would stay, too.
    """
    gc.disable()
    try:
        with phase("import"):
            yield
    finally:
        gc.freeze()
        gc.enable()


def timed(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator form of `phase`."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            with phase(name):
                return function(*args, **kwargs)

        return run

    return decorate


def report() -> dict[str, float]:
    """Seconds by phase, computing being what is left of the time since the job began."""
    rest = time.perf_counter() - _start - sum(seconds.values())
    return {name: round(value, 3) for name, value in {**seconds, "compute": rest}.items()}
