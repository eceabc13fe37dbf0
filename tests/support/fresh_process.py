"""Python code in a process of its own, for what an import or the garbage collector would leave."""

import subprocess
import sys

from tests.support import hanging


def run(code: str, *arguments: str) -> str:
    """What the code prints; a failure fails the test with its traceback."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=hanging.SECONDS,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
