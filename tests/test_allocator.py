"""Freed memory: computing keeps it for the next tensors, a walk hands it back."""

import platform
import subprocess
import sys

import pytest

from tests.support.project import ROOT

# Ten arrays of 32 MiB, one after another: 8,192 pages each.
PROGRAM = """
import resource
import numpy
from meltpoint.compute import keep_memory, return_memory
{name}()
numpy.ones(4 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    numpy.ones(4 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_computing_keeps_what_a_walk_hands_back():
    """A page has 4 KiB or 2 MiB, so what counts is the ratio of the pages that were cleared."""
    assert _faults("keep_memory") < 0.1 * _faults("return_memory")


def _faults(name: str) -> int:
    command = [sys.executable, "-c", PROGRAM.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return int(done.stdout)
