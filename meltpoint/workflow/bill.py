"""The bill of a study before it runs: jobs, time, the longest chain, memory and disk, by family."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.study.resolved import Study
from meltpoint.text import human_bytes, human_time
from meltpoint.workflow.cost_model import CostModel, constants, measured
from meltpoint.workflow.dense_disk import dense_bytes
from meltpoint.workflow.job_costs import JobCost, JobCosts
from meltpoint.workflow.ledger import Ledger
from meltpoint.workflow.model_sizes import ModelSizes
from meltpoint.workflow.rule_resources import RuleResources
from meltpoint.workflow.run_progress import RunProgress, planned

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

UNKNOWN = (
    "Its jobs count below by what it takes to start them: times, memory and disk are far too low"
)


@dataclass(frozen=True)
class Line:
    """The jobs of a family that are still to run, and their estimated seconds.

    `cpu` are the CPU-seconds of all jobs without a GPU. With a GPU, `gpu` are the seconds of the jobs
    that can use one, and `rest` the CPU-seconds of the others.
    """

    jobs: int
    cpu: float
    gpu: float
    rest: float


@dataclass(frozen=True)
class Bill:
    """The jobs to run by family, and the seconds of the longest chain of dependent jobs."""

    lines: Mapping[str, Line]
    longest_cpu: float
    longest_gpu: float
    finished: int

    @property
    def total(self) -> Line:
        """All families together."""
        lines = self.lines.values()
        return Line(
            sum(line.jobs for line in lines),
            sum(line.cpu for line in lines),
            sum(line.gpu for line in lines),
            sum(line.rest for line in lines),
        )


def bill_of(jobs: Iterable[JobCost], model: CostModel) -> Bill:
    """Bill of the jobs whose outputs do not exist yet."""
    jobs = list(jobs)
    ahead = [job for job in jobs if not job.output.exists()]
    seconds = {job.output: model.seconds(job) for job in ahead}
    families = defaultdict(list)
    for job in ahead:
        families[job.family].append((job, seconds[job.output]))
    lines = {
        family: Line(
            len(members),
            sum(each.cpu for _, each in members),
            sum(each.gpu for _, each in members if each.gpu is not None),
            sum(each.cpu for _, each in members if each.gpu is None),
        )
        for family, members in families.items()
    }
    on_cpu = {output: each.cpu for output, each in seconds.items()}
    on_gpu = {o: each.cpu if each.gpu is None else each.gpu for o, each in seconds.items()}
    longest = [longest_chain(ahead, each) for each in (on_cpu, on_gpu)]
    return Bill(lines, *longest, finished=len(jobs) - len(ahead))


def longest_chain(jobs: Iterable[JobCost], seconds: Mapping[Path, float]) -> float:
    """Seconds of the longest chain of jobs each of which waits for the one before."""
    ahead, until = {job.output: job for job in jobs}, {}
    for output in ahead:
        stack = [output]
        while stack:
            waiting = [x for x in ahead[stack[-1]].after if x in ahead and x not in until]
            if waiting:
                stack += waiting
                continue
            job = ahead[stack.pop()]
            start = max((until[x] for x in job.after if x in until), default=0.0)
            until[job.output] = start + seconds[job.output]
    return max(until.values(), default=0.0)


class StudyBill:
    """The bill of a study, whose results are below a folder, in words."""

    def __init__(self, study: Study, sizes: ModelSizes, results: str) -> None:
        self.study, self.sizes, self.results = study, sizes, Path(results)

    @cached_property
    def jobs(self) -> list[JobCost]:
        """The jobs of the study that compute."""
        return JobCosts(self.study, self.sizes, str(self.results)).all()

    @cached_property
    def model(self) -> CostModel:
        """The cost of jobs, by the machine's constants and the study's finished jobs."""
        return CostModel(constants(), measured(self.jobs, self.results / "benchmarks"))

    def begin(self, workflow: "Workflow") -> None:
        """Starts to report the progress of a run, whose jobs are planned."""
        needed = (job.output for job in workflow.dag.needrun_jobs())
        jobs = planned(self.jobs, {str(file) for files in needed for file in files})
        seconds = {job: self.model.seconds(job).cpu for job in jobs}
        logs, file = self.results / "logs", self.results / "progress.json"
        self.progress = RunProgress(seconds, logs, file)
        self.progress.begin()

    def end(self) -> None:
        """Reports for the last time, and writes what the finished jobs have cost."""
        self.progress.end()
        self.write_ledger()

    def write_ledger(self) -> None:
        """Writes the ledger: the cost of the finished jobs."""
        ledger = Ledger(self.study, self.jobs, self.results)
        ledger.write(self.results / "tables/cost.csv")

    def text(self, source: str, cores: int | None) -> str:
        """Lines for a person. source: the study's file's name; cores: those that a run may use."""
        model, bill = self.model, bill_of(self.jobs, self.model)
        lines = [self._counts(source)]
        if hint := self.sizes.hint():
            lines += [f"Warning: {hint}", UNKNOWN]
        if not bill.lines:
            return "\n".join([*lines, "Every job that computes is finished"])
        lines += self._table(bill)
        lines += self._time(bill, model, cores)
        return "\n".join([*lines, self._memory(), *self._disk(cores)])

    def _counts(self, source: str) -> str:
        config = self.study.config
        counts = ", ".join(
            f"{count} {thing}{'' if count == 1 else 's'}"
            for count, thing in (
                (len(config.models), "model"),
                (len(self.study.checkpoints), "checkpoint"),
                (len(self.study.all_cells), "cell"),
                (len(config.tables), "table"),
                (len(config.figures), "figure"),
            )
        )
        return f"Study {config.study} ({source}): {counts}"

    def _columns(self) -> list[tuple[str, Callable[[Line], str]]]:
        """Heads and values of the bill's columns of time, by the study's device."""
        device = self.study.config.compute.device
        on_cpu = ("CPU time", lambda line: human_time(line.cpu))
        on_gpu = [
            ("GPU time", lambda line: human_time(line.gpu)),
            ("CPU time beside it", lambda line: human_time(line.rest)),
        ]
        if device == "cpu":
            return [on_cpu]
        if device.startswith("cuda"):
            return on_gpu
        return [("CPU time without a GPU", on_cpu[1]), ("GPU time with one", on_gpu[0][1])]

    def _table(self, bill: Bill) -> list[str]:
        columns = self._columns()
        rows = [["ahead", "jobs", *(head for head, _ in columns)]]
        named = {**bill.lines, "all": bill.total}
        for family, line in named.items():
            rows.append([family, str(line.jobs), *(value(line) for _, value in columns)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]

    def _time(self, bill: Bill, model: CostModel, cores: int | None) -> list[str]:
        """The longest chain, and the range of the wall time: jobs that wait may leave cores idle."""
        device, lines = self.study.config.compute.device, []
        if not device.startswith("cuda"):
            jobs_at_once = max(1, (cores or 1) // self.study.config.compute.threads)
            total, longest = bill.total.cpu, bill.longest_cpu
            least = max(longest, total / jobs_at_once)
            most = total / jobs_at_once + longest * (1 - 1 / jobs_at_once)
            at_once = f"{jobs_at_once} job{'s' if jobs_at_once > 1 else ''} at once"
            lines.append(
                f"On the CPU the longest chain of jobs takes {human_time(longest)}; all take "
                f"{human_time(least)} to {human_time(1.5 * most)} with {at_once}"
            )
        if device != "cpu":
            how = "measured" if model.machine.gpu_measured else "assumed, not measured"
            lines.append(
                f"On GPUs of {model.machine.gpu_rate / 1e12:.3g} TFLOP/s ({how}) the longest chain "
                f"takes {human_time(bill.longest_gpu)}"
            )
        return lines

    def _memory(self) -> str:
        resources = RuleResources(self.study, self.sizes)
        cells = [resources.of_evaluation(*cell) for cell in self.study.all_cells]
        steps = [resources.of_chain(*checkpoint) for checkpoint in self.study.checkpoints]
        peak = max(job.mem_mb for job in [*cells, *steps])
        return f"A job holds at most about {human_bytes(1e6 * peak)} of memory"

    def _disk(self, cores: int | None) -> list[str]:
        config = self.study.config
        size = {model: self.sizes.bytes(model) or 0 for model in config.models}
        keeps_all = config.keep_checkpoints == "all"
        kept = [c for c in self.study.checkpoints if keeps_all or c in self.study.prefixes]
        hidden, untold = dense_bytes(self.study, self.sizes)
        bases = sum(size.values())
        finished = sum(size[model] for model, _ in kept) + hidden + bases
        # Checkpoints that are deleted once they are evaluated, one for each job that runs.
        leaves = 0 if keeps_all else 2 * (cores or 1) * max(size.values())
        parts = [
            f"{human_bytes(bases)} of base models",
            f"{len(kept)} checkpoint{'s' * (len(kept) != 1)}",
        ]
        if hidden:
            parts.append(
                f"{human_bytes(hidden)} of dense models' hidden states, which may be deleted"
            )
        lines = [
            f"Disk: {human_bytes(finished)} when finished, {human_bytes(finished + leaves)} at most "
            f"while it runs: {', '.join(parts)}"
        ]
        if untold:
            lines.append(
                f"The hidden states of {', '.join(untold)} are not counted: the number of tokens is "
                "not known yet"
            )
        return lines
