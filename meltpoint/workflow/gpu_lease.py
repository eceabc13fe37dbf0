"""Leases of GPUs: on a machine without a scheduler each job has its card to itself.

A lease is a lock on a file (flock), which the system takes back when its process ends, however it ends.
"""

import contextlib
import fcntl
import itertools
import logging
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.lazy_import import torch

# On the machine's own disk, as cards are the machine's; all users share it.
FOLDER = Path("/tmp/meltpoint-gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"
# Schedulers that hand out cards themselves say so by the number of their job.
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
SECONDS_BETWEEN_TRIES = 0.2


@contextlib.contextmanager
def gpu_of_job(compute: Compute, asked: int, folder: Path = FOLDER) -> Iterator[None]:
    """Gives a job that computes on a GPU its card, for the time of the block.

    asked: the number of GPUs that its rule asks for. Nothing happens where none is asked for and the
    study computes elsewhere, or where a scheduler has handed out the cards. Raises MeltpointError
    where a GPU was asked for, by the rule or by `compute.device`, and PyTorch sees none.
    """
    count = torch.cuda.device_count() if compute.device.startswith(("auto", "cuda")) else 0
    check_device(compute.device, asked, count)
    on_gpu = asked or compute.device.startswith("cuda") or (compute.device == "auto" and count)
    scheduled = next((name for name in SCHEDULERS if name in os.environ), None)
    if on_gpu and scheduled:
        given = os.environ.get(VISIBLE, "not named")
        logging.info("Computing on the GPU %s of %s %s", given, scheduled, os.environ[scheduled])
    cards, number = visible_cards(count), compute.device.partition(":")[2]
    if not on_gpu or scheduled:
        _make_current(number)
        yield
        return
    # A numbered device keeps its number: the others stay visible.
    choice = [cards[int(number)]] if number and int(number) < len(cards) else cards
    with leased(max(asked, 1) if not number else 1, choice, folder) as names:
        if not number:
            os.environ[VISIBLE] = ",".join(names)
        logging.info("Computing on the GPU %s", ", ".join(names))
        _make_current(number)
        yield


def _make_current(number: str) -> None:
    """Has libraries compute on a numbered device too, and torch's counters count its memory.

    By "cuda" they mean the current device, which else is the first: another job's, perhaps.
    """
    if number:
        torch.cuda.set_device(int(number))


def check_device(device: str, asked: int, count: int) -> None:
    """Raises MeltpointError where GPUs are asked for that are not among the `count` that there are."""
    if device.startswith("cuda") or (device == "auto" and asked):
        if not count:
            raise MeltpointError(
                f"compute.device is {device} and the job asks for a GPU, but PyTorch "
                f"{torch.__version__} sees none here: set compute.device to cpu, or install a build of "
                "PyTorch for the machine's GPU (docs/cluster.md)"
            )
        number = device.partition(":")[2]
        if number and int(number) >= count:
            raise MeltpointError(
                f"compute.device is {device}, but the last GPU that PyTorch sees here is "
                f"cuda:{count - 1}: set it to cuda, which takes a free one"
            )


def visible_cards(count: int) -> list[str]:
    """Names of the cards that this process may use: those in CUDA_VISIBLE_DEVICES, else all."""
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in visible.split(",") if name.strip()]


@contextlib.contextmanager
def leased(count: int, cards: Sequence[str], folder: Path = FOLDER) -> Iterator[list[str]]:
    """Names of `count` of the cards that no other process holds; waits until there are as many.

    Raises MeltpointError where there are never as many.
    """
    if count > len(cards):
        raise MeltpointError(
            f"the job asks for {count} GPUs, and {len(cards)} can be used here"
            + (f" ({VISIBLE} is {os.environ[VISIBLE]})" if VISIBLE in os.environ else "")
        )
    _make_shared(folder)
    waiting = False
    while True:
        with contextlib.ExitStack() as locks:
            names = _lock_some(locks, count, cards, folder)
            if len(names) == count:
                yield names
                return
        if not waiting:
            logging.info("Waiting for %s of the GPUs %s", count, ", ".join(cards))
        waiting = True
        # Jobs that need several cards must not try in step with each other.
        time.sleep(SECONDS_BETWEEN_TRIES * random.uniform(0.5, 1.5))


def _lock_some(
    locks: contextlib.ExitStack, count: int, cards: Sequence[str], folder: Path
) -> list[str]:
    """Names of at most `count` cards that this process now holds until the stack is left."""
    free = (name for name in cards if _lock(locks, folder / f"card-{name}.lock"))
    return list(itertools.islice(free, count))


def _lock(locks: contextlib.ExitStack, path: Path) -> bool:
    """True where this process now holds the file's lock, until the stack is left."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    locks.callback(os.close, descriptor)
    return True


def _make_shared(folder: Path) -> None:
    """Makes the folder, in which every user may make files; to lock one it must only be readable."""
    if not folder.is_dir():
        mask = os.umask(0)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o777)
        finally:
            os.umask(mask)
