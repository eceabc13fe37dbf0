"""The profiles of the workflow, and what a run without one says."""

import re

import pytest
import yaml

from meltpoint.workflow.staleness import TRIGGERS
from tests.support.project import ROOT

PROFILES = sorted((ROOT / "profiles").glob("*/config*.yaml"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.parent.name)
def test_every_profile_repeats_the_default_one(profile):
    """`--workflow-profile X` replaces profiles/default, so a profile that did not would lose it."""
    keys = yaml.safe_load(profile.read_text())
    assert keys["rerun-triggers"] == list(TRIGGERS)
    default = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert {key: keys.get(key) for key in default} == default


def test_the_slurm_plugin_is_pinned():
    """And so is what it needs, as pip is not to choose another NumPy."""
    lines = (ROOT / "requirements-slurm.txt").read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in packages)
    assert {line.split("==")[0] for line in packages} >= {"snakemake-executor-plugin-slurm"}


def test_a_run_with_other_triggers_says_so(fresh):
    (fresh.folder / "other").mkdir()
    (fresh.folder / "other/config.yaml").write_text("quiet: [host]\n")
    result = fresh.snakemake("-n", "--workflow-profile", "other")
    assert result.code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.startswith("Warning: "))
    assert "trigger code and software-env" in line
    assert "rerun-triggers: [mtime, params, input]" in line
    assert "Warning: this run" not in fresh.snakemake("-n").output
