"""The documents of LawBench and MMLU that are at hand, in the place of a study's own folder."""

import pytest

from meltpoint.evaluations._mmlu.subjects import GROUPS
from tests.support.project import ROOT

FOLDER = ROOT.parent / "shared/data/tasks"
# Where studies expect what a user puts there.
EXPECTED = "../data/tasks"


def use_documents(study: dict) -> None:
    """Changes a study's evaluations in place; skips the test where no documents are here."""
    for evaluation in study["evaluations"].values():
        if evaluation.get("data") != EXPECTED:
            continue
        if not FOLDER.exists():
            pytest.skip("the documents of LawBench and MMLU (shared/data) are not here")
        evaluation["data"] = str(FOLDER)
        if "mmlu_generation" in evaluation:
            subjects = {subject for group in GROUPS.values() for subject in group}
            evaluation["without"] = sorted(s for s in subjects if not has(s))


def has(subject: str) -> bool:
    """True for a subject whose files are at hand."""
    return all((FOLDER / f"mmlu/{x}/{subject}_{x}.csv").exists() for x in ("dev", "test"))
