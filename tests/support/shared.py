"""What the workers of pytest-xdist make once for all of them."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Folder that `make` has filled, for one worker or another; not to be changed.

    Whoever comes second waits. What fails is tried again by the next worker.
    """
    base = factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    target, partial = common / name, base / f"{name}-partial"
    with (common / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            make(partial)
            partial.rename(target)
    return target
