"""CPU-seconds of jobs, from a machine's constants and corrections learned from finished jobs."""

import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meltpoint.workflow.job_costs import JobCost

# Files of constants: the one that ships, and that of `python -m benchmarks.calibrate_cost`.
SHIPPED = Path(__file__).parents[2] / "resources/cost.json"
MEASURED = Path("results/cost.json")
# Ratio of the work of finished jobs from which overhead and factor of a rule can be told apart.
SPREAD = 5
# Seconds of arithmetic that can be told from how a job's start varies; bounds of what is learned.
LEAST_WORK, LEAST_FACTOR, LEAST_SECONDS = 0.7, 0.01, 0.01
# Seconds in which Snakemake looks at a job every half second, between its later looks, and by which one
# may be late.
OFTEN, SELDOM, LATE = 15.0, 30.0, 1.5


class Rule(BaseModel):
    """Correction of a rule: how its jobs' CPU-seconds differ from those of their arithmetic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overhead: float = Field(
        0.0, ge=0, description="CPU-seconds of a job besides start, bytes and arithmetic."
    )
    factor: float = Field(
        1.0, gt=0, description="Its arithmetic's CPU-seconds, as a multiple of the estimate."
    )


class Constants(BaseModel):
    """Rates of a machine, and the corrections of its rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(gt=0, description="CPU-seconds of a job that only imports what it needs.")
    rate: float = Field(
        gt=0, description="Floating point operations of a thread in a second, float32."
    )
    gpu_rate: float = Field(
        gt=0, description="Floating point operations of a GPU in a second, 16 bit."
    )
    elements_rate: float = Field(
        gt=0, description="Elements of a float32 product that a thread writes in a second."
    )
    gpu_elements_rate: float = Field(
        gt=0, description="Elements of a 16 bit product that a GPU writes in a second."
    )
    bytes_rate: float = Field(
        gt=0, description="Bytes of weights that are read, or hashed and written, in a second."
    )
    gpu_measured: bool = Field(False, description="Whether the GPU's rates were measured.")
    source: str = Field(description="Where the constants were measured.")
    rules: dict[str, Rule] = Field({}, description="Overhead and factor of rules by name.")


def constants() -> Constants:
    """The constants that were measured on this machine; those that ship where none were."""
    for file in (MEASURED, SHIPPED):
        try:
            return Constants(**json.loads(file.read_text()))
        except (OSError, ValueError, ValidationError):
            continue
    raise FileNotFoundError(f"{SHIPPED} is missing or broken")


@dataclass(frozen=True)
class Seconds:
    """Estimated time of a job: CPU-seconds, and seconds of a GPU if it can use one."""

    cpu: float
    gpu: float | None


class CostModel:
    """Seconds of jobs, by the machine's constants and the finished jobs of a study."""

    def __init__(self, machine: Constants, finished: Iterable[tuple[JobCost, float]] = ()) -> None:
        self.machine = machine
        pairs = defaultdict(list)
        for job, seconds in finished:
            beyond = seconds - machine.start - job.moved / machine.bytes_rate
            pairs[job.rule].append((self._work(job, machine.rate, machine.elements_rate), beyond))
        self.rules = {**machine.rules, **{rule: learn(x) for rule, x in pairs.items()}}

    def seconds(self, job: JobCost) -> Seconds:
        """Seconds of a job; on a GPU its start and its overhead stay those of the CPU."""
        rule = self.rules.get(job.rule, Rule())
        fixed = self.machine.start + rule.overhead + job.moved / self.machine.bytes_rate
        machine = self.machine
        cpu = fixed + rule.factor * self._work(job, machine.rate, machine.elements_rate)
        if not job.on_device:
            return Seconds(cpu, None)
        work = self._work(job, machine.gpu_rate, machine.gpu_elements_rate)
        return Seconds(cpu, fixed + rule.factor * work)

    def _work(self, job: JobCost, rate: float, elements_rate: float) -> float:
        """Seconds of a job's arithmetic."""
        return job.work.operations / rate + job.work.elements / elements_rate


def learn(pairs: list[tuple[float, float]]) -> Rule:
    """Overhead and factor of a rule from pairs of (seconds of its arithmetic, CPU-seconds measured).

    The CPU-seconds are those without the job's start and the bytes that it moves. Where the jobs' work
    differs enough, the means of small and large ones give both. Jobs of one size cannot tell the two
    apart: what they take beyond their arithmetic is overhead if it is more than the arithmetic, as
    where a library is imported, else a factor. Jobs of little arithmetic say nothing of a factor.
    """
    works = [work for work, _ in pairs]
    if max(works) > SPREAD * min(works):
        border = (max(works) * min(works)) ** 0.5
        large = [pair for pair in pairs if pair[0] > border]
        small = [pair for pair in pairs if pair[0] <= border]
        rule = _of_two(*_means(small), *_means(large))
        if rule is not None:
            return rule
        # The small jobs take less than the large ones make of them: the factor is that of the large.
        pairs = large
    work, seconds = _means(pairs)
    if seconds - work > work or work < LEAST_WORK:
        return Rule(overhead=max(seconds - work, 0.0))
    return Rule(factor=max(seconds / work, LEAST_FACTOR))


def _of_two(work: float, seconds: float, more: float, longer: float) -> Rule | None:
    """The rule by which two jobs take their seconds; None where a negative one would."""
    factor = (longer - seconds) / (more - work)
    overhead = seconds - factor * work
    return Rule(overhead=overhead, factor=factor) if overhead >= 0 and factor > 0 else None


def _means(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean work, and the geometric mean of the seconds, whose errors are relative ones.

    Jobs of less than half or more than twice the median are left out: a step that did not apply ended
    at once, and a job that waited was measured for a part of its time.
    """
    middle = max(statistics.median(measured for _, measured in pairs), LEAST_SECONDS)
    usual = [measured for _, measured in pairs if middle / 2 <= measured <= 2 * middle]
    seconds = statistics.geometric_mean(usual) if usual else middle
    return statistics.fmean(work for work, _ in pairs), seconds


def measured(jobs: Iterable[JobCost], folder: Path) -> list[tuple[JobCost, float]]:
    """The jobs that have finished, each with its CPU-seconds, by their benchmark files in a folder.

    Snakemake does not measure a job of less than about a second.
    """
    found = ((job, cpu_seconds(folder / f"{job.benchmark}.tsv")) for job in jobs)
    return [(job, seconds) for job, seconds in found if seconds]


def cpu_seconds(file: Path) -> float | None:
    """CPU-seconds of a job by its benchmark file; None where there is none, or nothing was measured.

    The file has those up to Snakemake's last look: it looks often for 15 s, then every 30 s. A job is
    taken to have gone on at the same rate.
    """
    try:
        with file.open() as lines:
            row = next(csv.DictReader(lines, delimiter="\t"))
        wall, seconds = float(row["s"]), float(row["cpu_time"])
    except (OSError, ValueError, KeyError, StopIteration):
        return None
    if wall > OFTEN:
        looked = OFTEN + max(0.0, wall - OFTEN - LATE) // SELDOM * SELDOM
        # More seconds of one thread than had passed by then: the look after it was in time.
        looked += SELDOM if looked + LATE < seconds and looked + SELDOM <= wall else 0.0
        seconds *= wall / looked
    return seconds or None
