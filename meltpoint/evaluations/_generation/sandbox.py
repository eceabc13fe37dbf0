"""Runs a program that a model wrote, in a process with limits.

Limits of the kernel: seconds of CPU, memory, the size of a file. A network namespace of its own where
the kernel lets a user have one. Limits within Python, by an audit hook that a program cannot remove: no
sockets, no other processes, no foreign code, and no file is changed outside the process's own folder.
These limits guard against accidents of a model, not against an attacker.
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
    """True where a program ends without an error within some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        # -I: neither the environment nor the folder changes what is imported.
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
    """Results of the programs, True for one that passes; `workers` of them run at a time."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(lambda program: passes(program, seconds), programs))
