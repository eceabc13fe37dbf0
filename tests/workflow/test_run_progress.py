"""Progress of a whole run, from what its jobs have left on disk."""

import json
import os

import pytest

from meltpoint.workflow import run_progress
from meltpoint.workflow.job_costs import JobCost
from meltpoint.workflow.run_progress import Progress, RunProgress


@pytest.fixture
def watched(tmp_path):
    """Four jobs of 10 estimated seconds each, of which one is finished before the run."""
    jobs = [JobCost("rule", "family", 0, tmp_path / name, name) for name in "abcd"]
    (tmp_path / "a").touch()
    (tmp_path / "logs").mkdir()
    return RunProgress(jobs, lambda _: 10.0, tmp_path / "logs", tmp_path / "progress.json")


def test_what_is_finished_what_runs_and_what_is_left(watched, tmp_path):
    state = watched.look()
    assert (state.finished, state.jobs, state.running) == (1, 4, ())
    assert state.seconds_left is None
    (tmp_path / "b").touch()
    (tmp_path / "logs/c.log").touch()
    watched.start -= 60
    state = watched.look()
    assert (state.finished, state.running) == (2, ("c",))
    # One job took the minute; two are left.
    assert state.seconds_left == pytest.approx(120, rel=0.05)
    assert state.line() == "2 of 4 jobs that compute are finished, 1 running, about 2 min left"


def test_a_log_of_an_earlier_run_is_no_job_that_runs(watched, tmp_path):
    log = tmp_path / "logs/c.log"
    log.touch()
    os.utime(log, (0, 0))
    assert watched.look().running == ()


def test_the_last_report_is_written(watched, tmp_path, capsys):
    for name in "bcd":
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
    deadline = 500
    while not file.exists() and deadline:
        deadline -= 1
        watched._stop.wait(0.02)
    watched._stop.set()
    assert json.loads(file.read_text())["finished"] == 1


def test_a_run_of_which_nothing_is_ahead_is_not_watched(tmp_path):
    (tmp_path / "a").touch()
    jobs = [JobCost("rule", "family", 0, tmp_path / "a", "a")]
    progress = RunProgress(jobs, lambda _: 1.0, tmp_path, tmp_path / "progress.json")
    progress.begin()
    assert not progress.ahead


def test_times_are_said_in_their_unit():
    state = Progress(1, 2, (), 1.0, 2.0, 7200.0)
    assert state.line().endswith("about 4 h left")


def test_a_run_leaves_its_progress(fresh):
    cells = [f"results/tiny/cells/tiny/{chain}/bits.json" for chain in ("dense", "magnitude@0.5")]
    result = fresh.run(*cells)
    document = json.loads((fresh.results / "progress.json").read_text())
    assert document["finished"] == 4
    assert f"[4 of {document['jobs']} jobs that compute are finished" in result.stderr
