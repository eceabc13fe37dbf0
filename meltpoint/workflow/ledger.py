"""The cost ledger of a study: what each chain took to make and to measure, beside what it is worth."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from meltpoint.chain import DENSE
from meltpoint.checkpoints.description import FILE
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import Cell
from meltpoint.files import whole_file
from meltpoint.study.resolved import Study
from meltpoint.workflow.cost_model import cpu_seconds
from meltpoint.workflow.job_costs import JobCost
from meltpoint.workflow.tries import earlier_seconds

FIXED = ("model", "chain", "family", "cpu_seconds_to_make", "cpu_seconds_to_measure")


class Ledger:
    """The ledger of a study whose jobs have left benchmark files below its results."""

    def __init__(self, study: Study, jobs: list[JobCost], results: Path) -> None:
        self.study, self.results = study, results
        self.by_output = {job.output: job for job in jobs}

    def write(self, file: Path) -> None:
        """Writes the ledger as CSV: a row for each chain of which a cell is there."""
        rows = list(self.rows())
        if not rows:
            return
        columns = [*FIXED, *self.study.config.evaluations]
        with whole_file(file) as partial, partial.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)

    def rows(self) -> Iterator[dict[str, object]]:
        """The rows: costs in CPU-seconds, and the main score of each evaluation.

        What a chain took to make is the time of all of its steps and of the searches that they read,
        shared ones in full. A cost is left out where Snakemake measured nothing, as for jobs of less
        than about a second, or where the job ran elsewhere.
        """
        evaluated: dict[tuple[str, str], list[str]] = {}
        for model, chain, name in self.study.all_cells:
            evaluated.setdefault((model, chain), []).append(name)
        for (model, chain), names in evaluated.items():
            scores = {name: self._score(model, chain, name) for name in names}
            if any(value is not None for value in scores.values()):
                yield {
                    "model": model,
                    "chain": chain,
                    "family": self._family(model, chain),
                    "cpu_seconds_to_make": _total(self._made_by(model, chain).values()),
                    "cpu_seconds_to_measure": _total(
                        self._seconds(f"evaluate/{model}/{chain}/{name}") for name in names
                    ),
                    **{name: value for name, value in scores.items() if value is not None},
                }

    def _family(self, model: str, chain: str) -> str:
        """The families of a chain's steps, joined as the steps are."""
        outputs = self._checkpoints(model, chain)
        return "+".join(self.by_output[output].family for output in outputs) or DENSE

    def _checkpoints(self, model: str, chain: str) -> list[Path]:
        """The checkpoints of a chain and of its prefixes, the shortest first."""
        found, folder = [], self.results / "cells" / model
        output = folder / chain / "checkpoint" / FILE
        while output.name == FILE and output in self.by_output:
            found.insert(0, output)
            output = self.by_output[output].after[0]
        return found

    def _made_by(self, model: str, chain: str) -> Mapping[str, float | None]:
        """CPU-seconds of the jobs that a chain was made by, each once."""
        found: dict[str, float | None] = {}
        for output in self._checkpoints(model, chain):
            job = self.by_output[output]
            searches = (self.by_output[x] for x in job.after[1:] if x in self.by_output)
            for each in (job, *searches):
                found[each.benchmark] = self._seconds(each.benchmark)
        return found

    def _seconds(self, benchmark: str) -> float | None:
        """CPU-seconds of a job, with those of earlier tries that were killed and kept a state."""
        last = cpu_seconds(self.results / "benchmarks" / f"{benchmark}.tsv")
        if last is None:
            return None
        return last + earlier_seconds(self.results / "logs" / f"{benchmark}.log")

    def _score(self, model: str, chain: str, name: str) -> object | None:
        """Value of a cell's main score; None where there is none."""
        try:
            cell = Cell.read(self.results / "cells" / model / chain / f"{name}.json")
        except (OSError, MeltpointError):
            return None
        return cell.scores[cell.main].value if cell.status == "ok" else cell.status


def _total(seconds: Iterable[float | None]) -> float | str:
    """Sum of the seconds that were measured; empty where none were."""
    measured = [each for each in seconds if each is not None]
    return round(sum(measured), 2) if measured else ""
