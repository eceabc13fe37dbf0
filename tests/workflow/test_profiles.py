"""The profiles of the workflow, and what a run without one says."""

import pytest
import yaml

from meltpoint.workflow.staleness import TRIGGERS
from tests.support.project import ROOT

PROFILES = sorted((ROOT / "profiles").glob("*/config*.yaml"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.parent.name)
def test_every_profile_repeats_what_makes_a_result_stale(profile):
    """`--workflow-profile X` replaces profiles/default, so a profile that did not would lose it."""
    assert yaml.safe_load(profile.read_text())["rerun-triggers"] == list(TRIGGERS)


def test_a_run_with_other_triggers_says_so(fresh):
    (fresh.folder / "other").mkdir()
    (fresh.folder / "other/config.yaml").write_text("quiet: [host]\n")
    result = fresh.snakemake("-n", "--workflow-profile", "other")
    assert result.code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.startswith("Warning: "))
    assert "trigger code and software-env" in line
    assert "rerun-triggers: [mtime, params, input]" in line
    assert "Warning: this run" not in fresh.snakemake("-n").output
