"""When garbage is collected in jobs and in Snakemake's process."""

import subprocess
import sys

from tests.support import hanging

IMPORTS = """
import gc
from meltpoint.timing import imports, seconds
try:
    with imports():
        assert not gc.isenabled()
        import email.mime.text
        raise ModuleNotFoundError
except ModuleNotFoundError:
    pass
assert gc.isenabled()
assert gc.get_freeze_count() > 1000
assert seconds["import"] > 0
"""

SNAKEMAKE = """
import gc
from meltpoint.workflow.garbage import collect_rarely
collect_rarely()
assert gc.isenabled()
assert gc.get_freeze_count() > 1000
class Node: pass
import weakref
node = Node()
node.itself, gone = node, weakref.ref(node)
del node
gc.collect()
assert gone() is None
"""


def run(code: str) -> None:
    """Runs code in a process of its own, as what is frozen stays so."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=hanging.SECONDS)
    assert result.returncode == 0, result.stderr


def test_imports_are_passed_over_and_collections_begin_again_after_a_failure():
    run(IMPORTS)


def test_what_snakemake_makes_later_is_still_collected():
    run(SNAKEMAKE)
