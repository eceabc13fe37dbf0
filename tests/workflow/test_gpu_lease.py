"""Leases of cards, without a card: the names are made up, the locks and the processes are real."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.workflow import gpu_lease
from meltpoint.workflow.gpu_lease import gpu_of_job, leased
from tests.support import hanging
from tests.support.project import ROOT

torch = pytest.importorskip("torch")

# Eight jobs at a time, each of which logs when it takes and gives back a card. Every tenth is killed
# while it holds one.
DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
from meltpoint.workflow.gpu_lease import leased

folder, log, jobs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def write(*words):
    line = " ".join(map(str, words)) + "\\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, line.encode())
    os.close(descriptor)

def job(number):
    with leased(1, ["a", "b"], folder) as (card,):
        write("take", card, number)
        time.sleep(random.uniform(0, 0.004))
        write("give", card, number)
        if number % 10 == 0:
            os.kill(os.getpid(), signal.SIGKILL)

running = set()
for number in range(jobs):
    if len(running) == 8:
        running.remove(os.wait()[0])
    child = os.fork()
    if not child:
        job(number)
        os._exit(0)
    running.add(child)
while running:
    running.remove(os.wait()[0])
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(gpu_lease, "SECONDS_BETWEEN_TRIES", 0.01)
    for name in (gpu_lease.VISIBLE, *gpu_lease.SCHEDULERS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two_cards(monkeypatch):
    """Has PyTorch see two cards that are not there."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_five_hundred_jobs_never_share_a_card(tmp_path):
    log = tmp_path / "log"
    source = DRIVER.replace("folder, log", "import meltpoint.workflow.gpu_lease as module\n"
                            "module.SECONDS_BETWEEN_TRIES = 0.005\nfolder, log", 1)  # fmt: skip
    command = [sys.executable, "-c", source, str(tmp_path / "cards"), str(log), "500"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=hanging.SECONDS)
    held, taken = {}, Counter()
    for line in log.read_text().splitlines():
        word, card, number = line.split()
        if word == "take":
            assert card not in held
            held[card] = number
            taken[card] += 1
        else:
            assert held.pop(card) == number
    assert not held
    assert taken.total() == 500
    assert min(taken.values()) > 50
    with leased(2, ["a", "b"], tmp_path / "cards") as names:
        assert names == ["a", "b"]


def test_a_killed_process_leaves_no_lease(tmp_path):
    source = (
        "import sys, time\nfrom pathlib import Path\n"
        "from meltpoint.workflow.gpu_lease import leased\n"
        "with leased(1, ['a'], Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", source, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with leased(1, ["a", "b"], tmp_path) as names:
        assert names == ["b"]
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with leased(1, ["a", "b"], tmp_path) as names:
        assert names == ["a"]


def test_a_job_sees_only_the_card_that_it_leases(tmp_path, two_cards):
    with leased(1, ["0"], tmp_path), gpu_of_job(Compute(device="auto"), 0, tmp_path):
        assert os.environ[gpu_lease.VISIBLE] == "1"


def test_cards_are_leased_of_those_that_the_user_allows(tmp_path, two_cards, monkeypatch):
    monkeypatch.setenv(gpu_lease.VISIBLE, "GPU-5, GPU-7")
    with leased(1, ["GPU-5"], tmp_path), gpu_of_job(Compute(device="cuda"), 1, tmp_path):
        assert os.environ[gpu_lease.VISIBLE] == "GPU-7"


@pytest.mark.parametrize("scheduler", [None, *gpu_lease.SCHEDULERS[:1]])
def test_a_numbered_device_is_the_current_one_of_all_libraries(
    tmp_path, two_cards, monkeypatch, scheduler
):
    """By "cuda" they mean that, and torch's counters of memory count it."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    if scheduler:
        monkeypatch.setenv(scheduler, "17")
    with gpu_of_job(Compute(device="cuda:1"), 1, tmp_path):
        assert chosen == [1]


def test_a_numbered_device_is_leased_and_keeps_its_number(tmp_path, two_cards, monkeypatch):
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    with gpu_of_job(Compute(device="cuda:1"), 1, tmp_path), leased(1, ["0", "1"], tmp_path) as free:
        assert free == ["0"]
        assert gpu_lease.VISIBLE not in os.environ


def test_a_scheduler_s_job_leases_nothing(tmp_path, two_cards, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv(gpu_lease.VISIBLE, "0,1")
    with gpu_of_job(Compute(device="cuda"), 1, tmp_path / "cards"):
        assert os.environ[gpu_lease.VISIBLE] == "0,1"
    assert not (tmp_path / "cards").exists()


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_job_on_the_cpu_leases_nothing(device, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with gpu_of_job(Compute(device=device), 0, tmp_path / "cards"):
        assert not (tmp_path / "cards").exists()


WRONG = {
    "none": (0, "cuda", 1, "compute.device is cuda and the job asks for a GPU, but PyTorch"),
    "none for the rule": (0, "auto", 1, "compute.device is auto and the job asks for a GPU"),
    "numbered": (2, "cuda:7", 1, "cuda:7, but the last GPU that PyTorch sees here is cuda:1"),
    "too many": (2, "cuda", 3, "the job asks for 3 GPUs, and 2 can be used here"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_gpu_that_is_not_there_is_said_in_one_sentence(case, tmp_path, monkeypatch):
    count, device, asked, sentence = WRONG[case]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with (
        pytest.raises(MeltpointError, match=sentence) as error,
        gpu_of_job(Compute(device=device), asked, tmp_path),
    ):
        raise AssertionError("the job began")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_study_on_a_gpu_stops_where_there_is_none(fresh):
    """By the profile of machines with GPUs; what does not compute on one is made all the same."""
    cells = [f"results/tiny/cells/tiny/dense/{name}.json" for name in ("bits", "prose-32")]
    result = fresh.snakemake(*cells, "--cores", "2", "--workflow-profile", "profiles/gpu")
    assert result.code != 0
    errors = {line for line in result.output.splitlines() if line.startswith("Error: ")}
    assert len(errors) == 1, errors
    assert "compute.device is cuda and the job asks for a GPU" in errors.pop()
    assert "Traceback" not in result.output
    assert (fresh.results / "tokens/tiny/prose.npy").exists()
    assert (fresh.results / "cells/tiny/dense/bits.json").exists()
    assert not (fresh.results / "cells/tiny/dense/prose-32.json").exists()
