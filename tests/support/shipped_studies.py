"""Studies of the project that read files which a user puts beside them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TASKS = ROOT.parent / "shared/data/tasks"


def with_tasks(study: dict, file: str) -> None:
    """Lets evaluations read tasks where these tests have them; skips the test where they are absent."""
    for evaluation in study["evaluations"].values():
        if "data" not in evaluation:
            continue
        evaluation["data"] = str(TASKS)
        if "mmlu_generation" in evaluation:
            # These files have no solved questions of anatomy.
            evaluation["without"] = ["anatomy"]
        if not TASKS.exists():
            pytest.skip(f"the tasks of {file} (shared/data) are not here")
