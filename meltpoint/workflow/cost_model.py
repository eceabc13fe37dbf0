"""CPU-seconds of jobs: the constants of a machine, and what its finished jobs say of each rule."""

import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meltpoint.workflow.job_costs import JobCost

# What ships, and what `python -m benchmarks.calibrate_cost` has measured on this machine.
SHIPPED = Path(__file__).parents[2] / "resources/cost.json"
MEASURED = Path("results/cost.json")
# Work of finished jobs that differs by so much tells what a rule's start costs from what its work does.
SPREAD = 10
# Seconds in which Snakemake looks at a job every half second, between its later looks, and by which one
# may be late.
OFTEN, SELDOM, LATE = 15.0, 30.0, 1.5


class Rule(BaseModel):
    """How far a rule's jobs are from the arithmetic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overhead: float = Field(
        0.0, ge=0, description="CPU-seconds of a job besides start and arithmetic."
    )
    factor: float = Field(
        1.0, gt=0, description="Its arithmetic's CPU-seconds, as a multiple of the estimate."
    )


class Constants(BaseModel):
    """What a machine does in a second, and what its rules cost besides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(gt=0, description="CPU-seconds of a job that only imports what it needs.")
    rate: float = Field(
        gt=0, description="Floating point operations of a thread in a second, float32."
    )
    gpu_rate: float = Field(
        gt=0, description="Floating point operations of a GPU in a second, 16 bit."
    )
    bytes_rate: float = Field(
        gt=0, description="Bytes of weights that are read, converted or written in a second."
    )
    gpu_measured: bool = Field(False, description="Whether the GPU's rate was measured.")
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
    """What a job takes: CPU-seconds on the CPU, and seconds of a GPU where it can use one."""

    cpu: float
    gpu: float | None


class CostModel:
    """Seconds of jobs, by the machine's constants and the finished jobs of a study."""

    def __init__(self, machine: Constants, finished: Iterable[tuple[JobCost, float]] = ()) -> None:
        self.machine = machine
        pairs = defaultdict(list)
        for job, seconds in finished:
            pairs[job.rule].append((job.operations / machine.rate, seconds))
        self.rules = {
            **machine.rules,
            **{rule: learn(x, machine.start) for rule, x in pairs.items()},
        }

    def seconds(self, job: JobCost) -> Seconds:
        """Seconds of a job; on a GPU its start and its overhead stay those of the CPU."""
        rule = self.rules.get(job.rule, Rule())
        fixed = self.machine.start + rule.overhead + job.moved / self.machine.bytes_rate
        work = rule.factor * job.operations
        gpu = fixed + work / self.machine.gpu_rate if job.on_device else None
        return Seconds(fixed + work / self.machine.rate, gpu)


def learn(pairs: list[tuple[float, float]], start: float) -> Rule:
    """Overhead and factor of a rule from pairs of (seconds of its arithmetic, CPU-seconds measured).

    Jobs of one size cannot tell the two apart: what they take beyond the estimate is taken for
    overhead, and what they take less for a factor. A fit over jobs of several sizes is one of
    least squares of the relative errors.
    """
    works = [work for work, _ in pairs if work > 0]
    if works and max(works) >= SPREAD * min(works):
        rule = _fit([(work, seconds - start) for work, seconds in pairs])
        if rule is not None:
            return rule
    work = statistics.median(work for work, _ in pairs)
    beyond = statistics.median(seconds for _, seconds in pairs) - start - work
    if beyond >= 0 or not work:
        return Rule(overhead=max(beyond, 0.0))
    return Rule(factor=max((work + beyond) / work, 0.01))


def _fit(pairs: list[tuple[float, float]]) -> Rule | None:
    """Overhead a and factor b that minimise sum ((a + b work) / seconds - 1)^2; None for a negative."""
    pairs = [(work, seconds) for work, seconds in pairs if seconds > 0.1]
    if len(pairs) < 3:
        return None
    ones = sum(1 / s**2 for _, s in pairs)
    cross = sum(w / s**2 for w, s in pairs)
    squares = sum(w**2 / s**2 for w, s in pairs)
    right = (sum(1 / s for _, s in pairs), sum(w / s for w, s in pairs))
    determinant = ones * squares - cross**2
    if determinant <= 1e-12 * ones * squares:
        return None
    overhead = (right[0] * squares - right[1] * cross) / determinant
    factor = (ones * right[1] - cross * right[0]) / determinant
    return Rule(overhead=overhead, factor=factor) if overhead >= 0 and factor > 0 else None


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
        seconds *= wall / (OFTEN + max(0.0, wall - OFTEN - LATE) // SELDOM * SELDOM)
    return seconds or None
