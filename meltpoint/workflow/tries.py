"""CPU-seconds of a job's earlier tries, which were killed and of which a state was kept.

Snakemake measures only the last try. A job that keeps states (`meltpoint.compression.resume`) may have
done part of its work in earlier tries. While there is a state, the job regularly writes the CPU-seconds
of all tries into a file beside it. At the end its log gives those of the earlier tries.
"""

import contextlib
import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from meltpoint.compression.resume import resume_path
from meltpoint.files import whole_file

# Seconds between two looks; what a killed job has done since the last one is not counted.
EVERY = 10.0
SENTENCE = "CPU-seconds of earlier tries: {:.1f}"
PATTERN = re.compile(re.escape(SENTENCE).replace(re.escape("{:.1f}"), r"([\d.]+)"))


@contextlib.contextmanager
def counted_tries(target: Path, spec: str) -> Iterator[None]:
    """Keeps the CPU-seconds of this try, and logs those of the earlier ones when it succeeds.

    target: the job's first output. spec: its job spec's canonical JSON.
    """
    states = resume_path(target, spec)
    file = states.with_name(states.name.replace(".resume-", ".tries-"))
    earlier = _read(file) if states.exists() else 0.0
    done = threading.Event()

    def keep() -> None:
        while not done.wait(EVERY):
            if states.exists():
                _write(file, earlier + time.process_time())

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if not states.exists():
            for left in target.parent.glob(f".{target.name}.tries-*"):
                left.unlink(missing_ok=True)
    if earlier:
        logging.info(SENTENCE.format(earlier))


def earlier_seconds(log: Path) -> float:
    """CPU-seconds of earlier tries, by a finished job's log; 0 where it says nothing of them."""
    try:
        found = PATTERN.search(log.read_text())
    except (OSError, UnicodeDecodeError):
        return 0.0
    return float(found[1]) if found else 0.0


def _read(file: Path) -> float:
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return 0.0


def _write(file: Path, seconds: float) -> None:
    """A full disk stops the job where it writes its results, and not here."""
    with contextlib.suppress(OSError), whole_file(file) as partial:
        partial.write_text(f"{seconds:.1f}")
