"""Where a job's time goes: seconds of importing, loading and computing, for the log."""

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Iterator

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


def timed(name: str):
    """The same for a function."""

    def decorate(function):
        @functools.wraps(function)
        def run(*args, **kwargs):
            with phase(name):
                return function(*args, **kwargs)

        return run

    return decorate


def report() -> dict[str, float]:
    """Seconds by phase, computing being what is left of the time since the job began."""
    rest = time.perf_counter() - _start - sum(seconds.values())
    return {name: round(value, 3) for name, value in {**seconds, "compute": rest}.items()}
