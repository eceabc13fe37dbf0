"""The rule of a method's search: one search for all levels, and what makes it stale."""

import re
import shutil

import pytest

from tests.support.project import ROOT

CELLS = "results/tiny/cells/tiny"
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
TWO = (f"{CELLS}/ladder@0.25/checkpoint", f"{CELLS}/ladder@0.5/checkpoint")
METHOD = "meltpoint/methods/ladder.py"


@pytest.fixture(scope="module")
def searched(untouched, tmp_path_factory):
    """A project with the method `ladder` and its checkpoints at two levels; not to be changed."""
    project = untouched.copy(tmp_path_factory.mktemp("search") / "project")
    shutil.copyfile(ROOT / "tests/support/methods/ladder.py", project.folder / METHOD)
    project.run(*TWO)
    return project


@pytest.fixture
def copy(searched, tmp_path):
    """A copy of that project, to be changed."""
    return searched.copy(tmp_path / "project")


def planned(project, *targets):
    """How many jobs of each of the method's rules a run for the targets would start."""
    result = project.snakemake("-n", *targets)
    assert result.code == 0, result.output
    counts = {
        kind: re.search(rf"^{kind}_ladder +(\d+)", result.output, re.M)
        for kind in ("search", "compress")
    }
    return tuple(int(count[1]) if count else 0 for count in counts.values())


def test_eight_levels_cost_one_search(untouched, searched, tmp_path):
    targets = [f"{CELLS}/ladder@{level}/checkpoint" for level in LEVELS]
    fresh = untouched.copy(tmp_path / "fresh")
    shutil.copyfile(searched.folder / METHOD, fresh.folder / METHOD)
    assert planned(fresh, *targets) == (1, 8)
    assert (searched.folder / "searches.log").read_text() == "1\n"
    assert (searched.folder / CELLS / "dense/search/ladder.json").exists()


def test_a_finished_search_is_not_run_again(searched):
    assert planned(searched, *TWO) == (0, 0)


def test_a_level_more_or_a_setting_of_the_step_searches_nothing(searched):
    steps = ("ladder@0.6", "ladder@0.5,above=true")
    assert planned(searched, *(f"{CELLS}/{step}/checkpoint" for step in steps)) == (0, 2)


def test_a_setting_of_the_search_or_another_parent_is_another_search(searched):
    """Three searches for three steps: no two share one."""
    chains = ("ladder@0.5,power=2", "ladder@0.5,samples=4", "magnitude@0.25+ladder@0.5")
    assert planned(searched, *(f"{CELLS}/{chain}/checkpoint" for chain in chains)) == (3, 3)


def test_a_comment_searches_nothing_and_code_all(copy):
    copy.append(METHOD, "\n# A comment.\n")
    assert planned(copy, *TWO) == (0, 0)
    copy.append(METHOD, "\nCHANGED = True\n")
    assert planned(copy, *TWO) == (1, 2)


def test_code_of_the_walk_makes_steps_stale_and_no_search(copy):
    copy.append("meltpoint/compression/blockwise.py", "\nCHANGED = True\n")
    assert planned(copy, *TWO) == (0, 2)


def test_the_calibration_makes_the_search_stale(copy):
    copy.edit_study(lambda study: study["calibrations"]["default"].update(samples=7))
    assert planned(copy, *TWO) == (1, 2)
