"""Which results a change of code, of settings or of an environment makes again, and which not."""

import shutil
import stat

import pytest

from tests.support.project import SHOWN, named

CODE = "\nCHANGED = True\n"


def test_nothing_to_do_after_a_finished_run(project, everything):
    assert named(everything, "models/", "tokens/", "checkpoint", ".json", "transitions/")
    assert project.stale() == set()
    assert "Nothing to be done" in project.snakemake("-n").output


def test_comment_in_a_method_reruns_at_most_that_method(project, everything):
    project.append("meltpoint/methods/wanda.py", "\n# A comment.\n")
    assert project.stale() <= named(everything, "wanda@", "tables/", *SHOWN)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_code_of_a_method_reruns_it_and_what_builds_on_it(project, everything, method):
    project.append(f"meltpoint/methods/{method}.py", CODE)
    stale = project.stale()
    tables = named(everything, "tables/calibrations") if method == "wanda" else set()
    assert stale == named(everything, f"{method}@", *SHOWN) | tables
    # A chain is its first step's descendant and its last step's; its prefix is the first's alone.
    assert ("cells/tiny/magnitude@0.25/checkpoint" in stale) == (method == "magnitude")
    chain = "cells/tiny/magnitude@0.25+wanda@0.5/checkpoint"
    assert (chain in stale) == (method in ("magnitude", "wanda"))


def test_code_of_the_walk_reruns_all_that_walks(project, everything):
    project.append("meltpoint/compression/blockwise.py", CODE)
    assert project.stale() == everything - named(everything, "models/", "tokens/", "/dense/")


def test_code_of_perplexity_reruns_its_cells(project, everything):
    project.append("meltpoint/evaluations/perplexity.py", CODE)
    assert project.stale() == named(everything, "-32.json", *SHOWN)


def test_new_method_reruns_nothing_and_brings_only_its_own(project, everything):
    methods = project.folder / "meltpoint/methods"
    shutil.copy(methods / "magnitude.py", methods / "another.py")
    assert project.stale() == set()
    project.edit_study(lambda study: study["sweeps"]["pruning"]["methods"].append("another"))
    own = {
        f"cells/tiny/another@{level}/{result}"
        for level in ("0.5", "2of4")
        for result in ("checkpoint", "prose-32.json")
    }
    assert project.stale() == own | named(everything, *SHOWN)


def test_default_of_a_setting_reruns_that_method(project, everything):
    project.replace("meltpoint/methods/sparsegpt.py", "0.01, gt=0", "0.02, gt=0")
    assert project.stale() == named(everything, "sparsegpt@", *SHOWN)


def test_settings_that_swap_their_values_are_noticed(project, everything):
    """Snakemake compares params as a set of values, without their names."""
    project.edit_study(lambda study: study["calibrations"]["default"].update(samples=16, length=8))
    expected = named(everything, "wanda@0.5/", "wanda@2of4/", "sparsegpt@", *SHOWN)
    assert named(everything, "calibration=notes", "calibration=given").isdisjoint(expected)
    assert project.stale() == expected


def test_level_added_runs_only_its_own(project, everything):
    project.edit_study(lambda study: study["sweeps"]["pruning"]["levels"].append(0.6))
    own = {
        f"cells/tiny/{method}@0.6/{result}"
        for method in ("magnitude", "wanda", "sparsegpt")
        for result in ("checkpoint", "prose-32.json")
    }
    assert project.stale() == own | named(everything, *SHOWN)


def test_evaluation_added_runs_only_its_own(project):
    """The dense cell is there for another group; no checkpoint is made again."""
    project.edit_study(lambda study: study["chains"]["order"]["evaluations"].append("bits"))
    assert project.stale() == {"cells/tiny/magnitude@0.25+wanda@0.5/bits.json"}


def test_window_added_to_a_sweep_leaves_its_table(project, everything):
    """The figure draws the fitted curves, among which those of the new window are."""

    def add(study):
        study["evaluations"]["prose-16"] = {"perplexity": "prose", "window": 16}
        study["sweeps"]["pruning"]["evaluations"].append("prose-16")

    project.edit_study(add)
    expected = {cell.replace("prose-32", "prose-16") for cell in named(everything, "prose-32.json")}
    shown = named(everything, "transitions/pruning", "figures/pruning")
    assert project.stale() == expected | shown


def test_how_jobs_compute_reruns_nothing(project):
    """All four at once: one that counted would make something stale."""
    change = {"threads": 2, "batch": 3, "device": "auto", "stream": True}
    project.edit_study(lambda study: study["compute"].update(change))
    assert project.stale() == set()


def test_dtype_reruns_what_is_computed_in_it(project, everything):
    project.edit_study(lambda study: study["compute"].update(dtype="bfloat16"))
    untouched = named(everything, "models/", "tokens/", "dense/bits.json")
    assert project.stale() == everything - untouched


def test_environment_file_reruns_what_runs_in_it(project, everything):
    project.append("envs/torch.yaml", "# another build\n")
    assert project.stale() == everything - named(everything, "models/")


def test_environment_of_the_analysis_reruns_no_cell(project, everything):
    project.append("envs/analysis.yaml", "# another build\n")
    assert project.stale() == named(everything, "transitions/", "tables/", "figures/")


CONDA = """#!/bin/sh
case "$*" in
    "info --json") echo '{"conda_prefix": "/nowhere", "platform": "linux-64"}' ;;
    "--version") echo "conda 99.0.0" ;;
    "config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}' ;;
    *) exit 1 ;;
esac
"""


@pytest.mark.skipif(shutil.which("conda") is not None, reason="a real conda is here")
def test_use_conda_reruns_nothing(project, everything, tmp_path):
    """A run without --use-conda, then a dry run with it.

    The conda on the path is a stand-in that answers what Snakemake asks of it in a dry run, and
    can make no environment: shown is Snakemake's decision, not that an environment works.
    """
    conda = tmp_path / "bin/conda"
    conda.parent.mkdir()
    conda.write_text(CONDA)
    conda.chmod(conda.stat().st_mode | stat.S_IXUSR)
    path = {"PATH": f"{conda.parent}:{project.environment()['PATH']}"}
    result = project.snakemake("-n", "--use-conda", **path)
    assert "Nothing to be done" in result.output
    assert project.stale("--use-conda", **path) == set()
    trigger = ("--rerun-triggers", "software-env")
    assert project.stale("--use-conda", *trigger, **path) == everything
