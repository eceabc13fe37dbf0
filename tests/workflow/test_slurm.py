"""The tiny study on a real SLURM of one node with two fake cards; its jobs compute on the CPU."""

import contextlib
import itertools
import random
import re
import subprocess
import time

import psutil
import pytest

from tests.support import hanging, slurm
from tests.support.fingerprint import fingerprint

pytestmark = [pytest.mark.slow, pytest.mark.workflow]
pytest.importorskip("snakemake_executor_plugin_slurm", reason="requirements-slurm.txt")

CHAINS = ("dense", "wanda@0.5", "magnitude@0.25+wanda@0.5")
CELLS = [f"results/tiny/cells/tiny/{chain}/fixed-32.json" for chain in CHAINS]
COMPUTING = ("compress_magnitude", "compress_wanda", "compress_sparsegpt", "evaluate_perplexity")
ON_CARDS = [f"{rule}:gpu=1" for rule in (*COMPUTING, "evaluate_size")]
KILLS = 20


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The log of a SLURM's finished jobs."""
    if reason := slurm.missing():
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")) as log:
        yield log


def on_slurm(partition: str = "cards") -> list[str]:
    """Options of a run on SLURM that looks at its jobs often."""
    return [
        *("--workflow-profile", "profiles/slurm"),
        *("--default-resources", f"slurm_partition={partition}"),
        *("--config", "compute={device: cpu}"),
        *("--set-resources", *ON_CARDS),
        *("--slurm-init-seconds-before-status-checks", "2"),
        # A cluster without an accounting database.
        *("--slurm-no-account", "--slurm-status-command", "squeue"),
    ]


def submissions(log) -> dict[str, tuple[str, str]]:
    """Start and end of each submission, by its number."""
    rows = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in log.read_text().splitlines()]
    assert {row["JobState"] for row in rows} == {"COMPLETED"}
    return {row["JobId"]: (row["StartTime"], row["EndTime"]) for row in rows}


def cards(results) -> dict[str, str]:
    """The card of each submission that computed on one, as its jobs have logged it."""
    pattern = r"Computing on the GPU (\S+) of SLURM_JOB_ID (\d+)"
    logs = "".join(file.read_text() for file in results.rglob("logs/**/*.log"))
    return {number: card for card, number in re.findall(pattern, logs)}


def test_the_same_bytes_and_never_two_jobs_on_a_card(jobs, fresh, finished):
    """The whole study: all its chains, tables and figures."""
    result = fresh.snakemake(*on_slurm())
    assert result.code == 0, result.output
    assert fingerprint(fresh.results) == fingerprint(finished.results)
    times, used = submissions(jobs), cards(fresh.results)
    # A submission for each chain at least.
    assert len(used) >= len({path.parent for path in fresh.results.glob("cells/*/*/checkpoint")})
    assert set(used.values()) <= {"0", "1"}
    for one, other in itertools.combinations(used, 2):
        (start, end), (next_start, next_end) = times[one], times[other]
        if start < next_end and next_start < end:
            assert used[one] != used[other]


@contextlib.contextmanager
def started(project, *arguments):
    """A run on SLURM that goes on while the test does something; `run.log` has what it prints."""
    with (project.folder / "run.log").open("a") as log:
        process = subprocess.Popen(
            project.command(*arguments, *on_slurm()),
            cwd=project.folder,
            env=project.environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_the_jobs_of_a_node_that_fails_run_again(jobs, fresh, untouched, tmp_path):
    """A power cut while a chain is computed: the node's daemon and its jobs die, and it comes back."""
    cells = CELLS[:2]
    with started(fresh, *cells) as run:
        hanging.wait_for(lambda: slurm.steps() and cards(fresh.results), run)
        slurm.fail_node(jobs.parent)
        run.wait(hanging.SECONDS)
    assert run.returncode == 0, (fresh.folder / "run.log").read_text()
    assert "NODE_FAIL" in jobs.read_text()
    local = untouched.copy(tmp_path / "local")
    local.run(*cells)
    assert fingerprint(fresh.results) == fingerprint(local.results)


def test_a_run_of_which_any_process_is_killed_ends_with_the_same_bytes(
    jobs, fresh, untouched, tmp_path
):
    """20 SIGKILLs, of the run itself or of a process of its jobs, at random times; started again."""
    chance, left = random.Random(0), KILLS
    while True:
        with started(fresh, *CELLS) as run:
            while left and run.poll() is None:
                time.sleep(chance.uniform(2, 6))
                victims = slurm.processes()
                if not victims or chance.random() < 1 / 6:
                    victims = [psutil.Process(run.pid)]
                with contextlib.suppress(psutil.NoSuchProcess):
                    chance.choice(victims).kill()
                    left -= 1
            run.wait(hanging.SECONDS)
        if run.returncode == 0:
            break
        assert left < KILLS, (fresh.folder / "run.log").read_text()
        # Jobs of a run that was killed go on; docs/cluster.md says to cancel them.
        slurm.cancel_all()
        fresh.snakemake("--unlock")
    assert left == 0, "the study ended before all kills"
    local = untouched.copy(tmp_path / "local")
    local.run(*CELLS)
    assert fingerprint(fresh.results) == fingerprint(local.results)


def test_a_partition_that_does_not_exist_stops_the_run(jobs, fresh):
    result = fresh.snakemake(*on_slurm("nowhere"))
    assert result.code != 0
    assert "the cluster has no partition 'nowhere': known: cards" in result.output
    assert "Traceback" not in result.output
