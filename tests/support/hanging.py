"""When a test gives up on a process or a condition that hangs."""

import subprocess
import time
from collections.abc import Callable

# Generous, as no test is to fail because its machine is busy.
SECONDS = 3600


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    """Waits until a condition holds while a process runs."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, "the process ended before the condition held"
        assert time.monotonic() < deadline
        time.sleep(0.005)
