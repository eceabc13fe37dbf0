"""Progress of a whole run in one line and a file: what is done, what runs, how long the rest takes.

The results' folder is looked at now and then, so it is the same on one machine and on a cluster.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meltpoint.files import write_json
from meltpoint.text import human_time
from meltpoint.workflow.job_costs import JobCost

# The first look, and the pause after a look as a multiple of what it took: 1 % of one core at most.
FIRST_SECONDS, PAUSE = 15.0, 200
MOST_SECONDS = 120.0
# Least share of a run's estimated work that says how long the rest takes.
ENOUGH = 0.05
# Seconds by which the clock of a file system may be behind.
CLOCKS = 1.0


@dataclass(frozen=True)
class Progress:
    """State of a run: jobs by number, and seconds.

    `done` and `left` are the estimated CPU-seconds of the jobs that were finished since the run began
    and of those that are not yet; `elapsed` are the run's seconds.
    """

    finished: int
    jobs: int
    running: tuple[str, ...]
    done: float
    left: float
    elapsed: float

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the pace so far; None before enough of the work is finished.

        A first job may have trained the model, or waited for a full machine: its pace says little.
        """
        enough = self.done > 0 and self.done >= ENOUGH * (self.done + self.left)
        return self.elapsed * self.left / self.done if enough else None

    def line(self) -> str:
        """The line for a terminal."""
        rest = "" if self.seconds_left is None else f", about {human_time(self.seconds_left)} left"
        running = f", {len(self.running)} running" if self.running else ""
        return f"{self.finished} of {self.jobs} jobs that compute are finished{running}{rest}"

    def document(self) -> dict[str, object]:
        """The content of progress.json."""
        return {
            "finished": self.finished,
            "jobs": self.jobs,
            "running": list(self.running),
            "seconds": round(self.elapsed),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
        }


class RunProgress:
    """Looks at the results of a run's jobs now and then, in a thread, and reports.

    jobs: those that the run will do, with their estimated seconds. logs: the folder of the jobs' logs,
    by which a job that runs is known. file: progress.json.
    """

    def __init__(self, jobs: Mapping[JobCost, float], logs: Path, file: Path) -> None:
        self.logs, self.file = logs, file
        self.ahead, self.count = dict(jobs), len(jobs)
        self.start, self.started_at = time.monotonic(), time.time() - CLOCKS
        self.done, self._stop = 0.0, threading.Event()

    def begin(self) -> None:
        """Starts looking, where anything is ahead. The thread ends with its process."""
        if self.ahead:
            threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """Reports for the last time, where anything was ahead."""
        self._stop.set()
        if self.count:
            self._report(self.look())

    def look(self) -> Progress:
        """The state of the run now."""
        for job in [job for job in self.ahead if self._is_new(job.output)]:
            self.done += self.ahead.pop(job)
        logs = {job.benchmark: self.logs / f"{job.benchmark}.log" for job in self.ahead}
        return Progress(
            finished=self.count - len(self.ahead),
            jobs=self.count,
            running=tuple(name for name, log in logs.items() if self._is_new(log)),
            done=self.done,
            left=sum(self.ahead.values()),
            elapsed=time.monotonic() - self.start,
        )

    def _is_new(self, path: Path) -> bool:
        """True for a file that was written since the run began."""
        try:
            return path.stat().st_mtime >= self.started_at
        except OSError:
            return False

    def _watch(self) -> None:
        pause, finished = FIRST_SECONDS, None
        while not self._stop.wait(pause):
            start = time.monotonic()
            progress = self.look()
            self._report(progress, new=progress.finished != finished)
            finished = progress.finished
            pause = min(max(FIRST_SECONDS, PAUSE * (time.monotonic() - start)), MOST_SECONDS)

    def _report(self, progress: Progress, new: bool = True) -> None:
        """Writes the file, and the line where it says something new."""
        with contextlib.suppress(OSError):
            write_json(self.file, progress.document())
        if new:
            print(f"[{progress.line()}]", file=sys.stderr, flush=True)


def planned(jobs: Iterable[JobCost], outputs: set[str]) -> list[JobCost]:
    """The jobs of which a run makes the outputs, given as their paths or the folders around them."""
    return [job for job in jobs if {str(job.output), str(job.output.parent)} & outputs]
