"""When garbage is collected in jobs and in Snakemake's process."""

from tests.support.fresh_process import run

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
last = gc.get_stats()
for _ in range(100_000):
    itself = []
    itself.append(itself)
begun = gc.get_stats()[0]["collections"] - last[0]["collections"]
assert 5 < begun < 15, begun
assert gc.get_stats()[0]["collected"] - last[0]["collected"] > 80_000
"""


def test_imports_are_passed_over_and_collections_begin_again_after_a_failure():
    run(IMPORTS)


def test_what_snakemake_makes_later_is_still_collected():
    run(SNAKEMAKE)
