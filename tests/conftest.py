"""What all tests share."""

import os

# No test reaches for the network; set before any library reads it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests that run side by side have a core each: torch would take them all, several times over.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")


# Files that take longest; named by their end or their folder.
LONG = ("tests/workflow/", "test_contracts.py", "test_parity.py", "test_shipped_studies.py")


def pytest_collection_modifyitems(items) -> None:
    """Side by side the long files come first: one that begins last would keep one worker alone."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not any(name in item.path.as_posix() for name in LONG))


def pytest_collection_finish() -> None:
    """Lets collections of garbage pass over the libraries, which stay: one took half a second."""
    from meltpoint.workflow.garbage import collect_rarely

    collect_rarely()
