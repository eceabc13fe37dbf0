"""The searches of a study as paths: which there are, where they are kept, and who reads them."""

from typing import TYPE_CHECKING

from meltpoint import methods
from meltpoint.chain import DENSE, Step, parse_step
from meltpoint.methods import Method
from meltpoint.study.resolved import Study
from meltpoint.workflow.job_specs.study import JobSpecs

if TYPE_CHECKING:
    from snakemake.iocontainers import Wildcards


def step_of(study: Study, wildcards: "Wildcards") -> Step:
    """Step of a compression's or a search's job; that of a search has no level."""
    if hasattr(wildcards, "search"):
        return parse_step(wildcards.search)
    return study.steps(wildcards.prefix + wildcards.step)[-1]


def chain_before(wildcards: "Wildcards") -> str:
    """Chain of the checkpoint that a compression or a search starts from."""
    if hasattr(wildcards, "search"):
        return wildcards.chain
    return wildcards.prefix.removesuffix("+") or DENSE


def chain_of(wildcards: "Wildcards") -> str:
    """Chain that a compression makes, or that a search is made on."""
    return getattr(wildcards, "chain", None) or wildcards.prefix + wildcards.step


def calibration_of(study: Study, wildcards: "Wildcards") -> str | None:
    """Name of the calibration that a compression or a search looks at; None if at none."""
    step = step_of(study, wildcards)
    method = methods.find(step.method)
    settings = method.settings(step)
    is_search = hasattr(wildcards, "search")
    calibrated = settings.calibrated if is_search else method.calibrated(step)
    return settings.calibration if calibrated else None


def validation_of(study: Study, wildcards: "Wildcards") -> str | None:
    """Name of the second calibration that a search looks at; None if at none."""
    step = step_of(study, wildcards)
    return methods.find(step.method).settings(step).validation_calibration


class Searches:
    """The searches of a study, kept below its `results`."""

    def __init__(self, study: Study, job_specs: JobSpecs, results: str) -> None:
        self.study, self.job_specs, self.results = study, job_specs, results

    def rules(self) -> list[Method]:
        """The methods that have a search, each of which has a rule."""
        return [method for method in methods.registry().values() if method.has_search]

    def file(self, method: Method) -> str:
        """Path of a method's searches, with wildcards; one on the base model is below `dense`."""
        ending = method.facts.search_format
        return f"{self.results}/cells/{{model}}/{{chain}}/search/{{search}}.{ending}"

    def names_of(self, method: Method) -> str:
        """Constraint of a search's name: the method with any settings."""
        return rf"{method.name}(?:,[^+/:]*)?"

    def read_by(self, wildcards: "Wildcards") -> list[str]:
        """Path of the search that a compression reads, as a list of one or none."""
        step = step_of(self.study, wildcards)
        method = methods.find(step.method)
        if not method.has_search:
            return []
        names = {"model": wildcards.model, "chain": chain_before(wildcards)}
        return [self.file(method).format(**names, search=method.search_step(step))]

    def earlier(self, wildcards: "Wildcards") -> list[str]:
        """Path of the search that a search starts from, as a list of one or none."""
        step = parse_step(wildcards.search)
        method = methods.find(step.method)
        found = method.earlier_search(step)
        names = {"model": wildcards.model, "chain": wildcards.chain}
        return [self.file(method).format(**names, search=found)] if found else []

    def job_spec(self, wildcards: "Wildcards") -> str:
        """Param: the job spec of a search."""
        step = parse_step(wildcards.search)
        return self.job_specs.search(wildcards.model, wildcards.chain, step).json()
