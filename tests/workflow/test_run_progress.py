"""Progress of a whole run, from what its jobs have left on disk."""

import json
import os
import time
from pathlib import Path

import pytest

from meltpoint.workflow import run_progress
from meltpoint.workflow.arithmetic import Work
from meltpoint.workflow.job_costs import JobCost
from meltpoint.workflow.run_progress import Progress, RunProgress, planned
from tests.support import hanging

# Of the study's chains one that needs no tokens.
CHAIN = "wanda@0.5,calibration=given"


@pytest.fixture
def watched(tmp_path):
    """Four jobs of 10 estimated seconds each; what one makes is there from an earlier run."""
    jobs = {JobCost("rule", "family", Work(), tmp_path / name, name): 10.0 for name in "abcd"}
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (0, 0))
    (tmp_path / "logs").mkdir()
    return RunProgress(jobs, tmp_path / "logs", tmp_path / "progress.json")


def test_what_is_finished_what_runs_and_what_is_left(watched, tmp_path):
    state = watched.look()
    assert (state.finished, state.jobs, state.running) == (0, 4, ())
    assert state.seconds_left is None
    (tmp_path / "b").touch()
    (tmp_path / "logs/c.log").touch()
    watched.start -= 60
    state = watched.look()
    assert (state.finished, state.running) == (1, ("c",))
    # One job took the minute; three are left.
    assert state.seconds_left == pytest.approx(180, rel=0.05)
    assert state.line() == "1 of 4 jobs that compute are finished, 1 running, about 3 min left"


def test_a_log_of_an_earlier_run_is_no_job_that_runs(watched, tmp_path):
    log = tmp_path / "logs/c.log"
    log.touch()
    os.utime(log, (0, 0))
    assert watched.look().running == ()


def test_the_last_report_is_written(watched, tmp_path, capsys):
    for name in "abcd":
        (tmp_path / name).touch()
    watched.end()
    document = json.loads((tmp_path / "progress.json").read_text())
    assert (document["finished"], document["jobs"], document["seconds_left"]) == (4, 4, 0)
    assert "[4 of 4 jobs that compute are finished" in capsys.readouterr().err


def test_reports_come_while_the_run_goes_on(watched, tmp_path, monkeypatch):
    monkeypatch.setattr(run_progress, "FIRST_SECONDS", 0.02)
    monkeypatch.setattr(run_progress, "MOST_SECONDS", 0.02)
    watched.begin()
    file = tmp_path / "progress.json"
    deadline = time.monotonic() + hanging.SECONDS
    while not file.exists() and time.monotonic() < deadline:
        watched._stop.wait(0.02)
    watched._stop.set()
    assert json.loads(file.read_text())["finished"] == 0


def test_only_the_jobs_of_the_run_count(tmp_path):
    jobs = [
        JobCost("rule", "family", Work(), Path("x") / name, name) for name in ("a/b", "c", "d/e")
    ]
    assert [job.benchmark for job in planned(jobs, {"x/a", "x/c"})] == ["a/b", "c"]


def test_a_run_without_such_jobs_reports_nothing(tmp_path):
    progress = RunProgress({}, tmp_path, tmp_path / "progress.json")
    progress.begin()
    progress.end()
    assert not (tmp_path / "progress.json").exists()


def test_times_are_said_in_their_unit():
    state = Progress(1, 2, (), 1.0, 2.0, 7200.0)
    assert state.line().endswith("about 4 h left")


def test_a_run_leaves_its_progress(fresh):
    cells = [f"results/tiny/cells/tiny/{chain}/bits.json" for chain in ("dense", CHAIN)]
    result = fresh.run(*cells)
    document = json.loads((fresh.results / "progress.json").read_text())
    assert (document["finished"], document["jobs"]) == (4, 4)
    assert "[4 of 4 jobs that compute are finished" in result.stderr
    assert (fresh.results / "tables/cost.csv").read_text().count("\n") == 3
