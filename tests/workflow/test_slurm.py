"""The tiny study on a real SLURM of one node with two fake cards; its jobs compute on the CPU."""

import itertools
import re
import subprocess

import pytest

from tests.support import hanging, slurm
from tests.support.fingerprint import fingerprint

pytestmark = [pytest.mark.slow, pytest.mark.workflow]
pytest.importorskip("snakemake_executor_plugin_slurm", reason="requirements-slurm.txt")

CHAINS = ("dense", "wanda@0.5", "magnitude@0.25+wanda@0.5")
CELLS = [f"results/tiny/cells/tiny/{chain}/fixed-32.json" for chain in CHAINS]
ON_CARDS = [
    f"{rule}:gpu=1"
    for rule in ("compress_magnitude", "compress_wanda", "evaluate_perplexity", "evaluate_size")
]
# A cluster without an accounting database.
PLAIN = ["--slurm-no-account", "--slurm-status-command", "squeue"]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The log of a SLURM's finished jobs."""
    if reason := slurm.missing():
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")) as log:
        yield log


def submit(project, *arguments, partition="cards"):
    return project.snakemake(
        *arguments,
        *("--workflow-profile", "profiles/slurm"),
        *("--default-resources", f"slurm_partition={partition}"),
        *("--config", "compute={device: cpu}"),
        *("--set-resources", *ON_CARDS),
        *PLAIN,
    )


def as_submitted(project, *arguments) -> list[str]:
    """Command of a run on SLURM that looks at its jobs often."""
    return project.command(
        *arguments,
        *("--workflow-profile", "profiles/slurm"),
        *("--default-resources", "slurm_partition=cards"),
        *("--config", "compute={device: cpu}"),
        *("--set-resources", *ON_CARDS),
        *("--slurm-init-seconds-before-status-checks", "2"),
        *PLAIN,
    )


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


def test_the_same_cells_and_bytes_and_never_two_jobs_on_a_card(jobs, fresh, untouched, tmp_path):
    result = submit(fresh, *CELLS)
    assert result.code == 0, result.output
    local = untouched.copy(tmp_path / "local")
    local.run(*CELLS)
    assert fingerprint(fresh.results) == fingerprint(local.results)
    times, used = submissions(jobs), cards(fresh.results)
    # A submission for each chain, and for the dense model's cell.
    assert len(used) == 4
    assert set(used.values()) <= {"0", "1"}
    for one, other in itertools.combinations(used, 2):
        (start, end), (next_start, next_end) = times[one], times[other]
        if start < next_end and next_start < end:
            assert used[one] != used[other]


def test_the_jobs_of_a_node_that_fails_run_again(jobs, fresh, untouched, tmp_path):
    """A power cut while a chain is computed: the node's daemon and its jobs die, and it comes back."""
    cells = CELLS[:2]
    process = subprocess.Popen(
        as_submitted(fresh, *cells),
        cwd=fresh.folder,
        env=fresh.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        hanging.wait_for(lambda: slurm.steps() and cards(fresh.results), process)
        slurm.fail_node(jobs.parent)
        output, _ = process.communicate(timeout=hanging.SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "NODE_FAIL" in jobs.read_text()
    local = untouched.copy(tmp_path / "local")
    local.run(*cells)
    assert fingerprint(fresh.results) == fingerprint(local.results)


def test_a_partition_that_does_not_exist_stops_the_run(jobs, fresh):
    result = submit(fresh, partition="nowhere")
    assert result.code != 0
    assert "the cluster has no partition 'nowhere': known: cards" in result.output
    assert "Traceback" not in result.output
