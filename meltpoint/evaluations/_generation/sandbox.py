"""Runs a program that a model wrote, in a process with limits.

The kernel limits seconds of CPU, memory and the size of a file. The process gets a network namespace of
its own if the kernel allows users to make one. An audit hook, which a program cannot remove, forbids
sockets, other processes, foreign code, and changes of files outside the process's own folder. These
limits guard against accidents of a model, not against an attacker.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from meltpoint.evaluations._generation._guard import PASSED

MEMORY_BYTES = 1 << 30
FILE_BYTES = 1 << 20
GUARD = Path(__file__).with_name("_guard.py")


def passes(program: str, seconds: float) -> bool:
    """True if a program ends without an exception in the given number of seconds."""
    with tempfile.TemporaryDirectory() as folder:
        # With -I neither environment variables nor the folder's files change what Python imports.
        command = [
            sys.executable,
            "-I",
            str(GUARD),
            str(seconds),
            str(MEMORY_BYTES),
            str(FILE_BYTES),
        ]
        try:
            done = subprocess.run(
                command,
                input=program.encode(errors="replace"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={},
                timeout=seconds,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == PASSED


def all_pass(programs: list[str], seconds: float, workers: int) -> list[bool]:
    """For each program True if it passes; `workers` programs run at a time."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(lambda program: passes(program, seconds), programs))
