"""The section of a study for the analysis of its parameter search, and the files of that analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from meltpoint import methods
from meltpoint.analysis import references
from meltpoint.chain import Sparsity, Step
from meltpoint.errors import MeltpointError
from meltpoint.section import Name, ScoreName, Section

if TYPE_CHECKING:
    from meltpoint.study.resolved import Study

# The kind of evaluation that keeps a method's own files about its cut.
KIND = "pruning"
# Files for each model, as the published study names them, and those for all models.
RUNS = ("all_methods_results.csv", "global_best_config.json", "method_comparison.json")
BEST = (
    *("best_config.json", "evaluation/evaluation_results.json"),
    *("analysis/gradient_diagnosis.json", "analysis/pruning_comparison.json"),
    *("visualization/gradient_analysis.png", "visualization/pruning_ratio.png"),
    "visualization/retention_ratio.png",
)
ACROSS = (
    *("cross_model_comparison.json", "final_analysis_report.txt", "summary.csv"),
    *("noise_floor.csv", "compare_levels.csv", "partial_dependence.csv", "explained.csv"),
    *("heatmap_perplexity.svg", "dependence.svg"),
)


class ParameterSearch(Section):
    """The analysis of a sweep over a method's settings, in the files of the published search.

    They are below `results/{study}/search/`. The best run of a model has the best mean accuracy, or
    without `accuracy` the lowest perplexity.
    """

    source: Name | Annotated[list[Name], Field(min_length=1)] = Field(
        description="Name of the sweep: one method at one level, with `length` and `samples` swept. A "
        "list of sweeps where models have calibrations of their own."
    )
    perplexity: ScoreName = Field(description="Perplexity of the runs, one of the sweep's scores.")
    layers: Name = Field(
        description="Evaluation of the kind `pruning`, which says what became of each layer."
    )
    accuracy: Name | None = Field(
        None, description="Evaluation of tasks, whose mean decides. Default: perplexity decides."
    )
    method: str = Field(
        "prior", description="Setting of the method whose values are compared as methods."
    )

    @property
    def sources(self) -> list[str]:
        """Names of the sweeps."""
        return [self.source] if isinstance(self.source, str) else self.source

    @property
    def evaluations(self) -> list[str]:
        """Names of the scores that the analysis reads."""
        return [name for _, name in self.shown]

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Scores that the analysis reads, each with the key that names it."""
        keys = ("perplexity", "layers", "accuracy")
        return [(key, getattr(self, key)) for key in keys if getattr(self, key) is not None]


def check(study: Study) -> None:
    """Raises MeltpointError, naming the key, for sweeps and scores that the analysis cannot use."""
    section = study.config.parameter_search
    if section is None:
        return
    references.check_names(
        "parameter_search.source", section.sources, study.config.sweeps, "sweep of the study"
    )
    steps = steps_of(study)
    if len({(step.method, step.level) for step in steps}) > 1:
        raise MeltpointError(
            "parameter_search.source: there are several methods or levels, and a search has one of each"
        )
    if not isinstance(steps[0].level, Sparsity):
        raise MeltpointError("parameter_search.source: its level is no fraction such as 0.2")
    known = methods.find(steps[0].method).settings_class.model_fields
    setting = f"setting of {steps[0].method}"
    references.check_names("parameter_search.method", [section.method], known, setting)
    references.check_names("parameter_search.source", ["length", "samples"], known, setting)
    if not study.perplexity(section.perplexity):
        raise MeltpointError(f"parameter_search.perplexity: {section.perplexity} is no perplexity")
    for key, field in (("layers", KIND), ("accuracy", "tasks")):
        name = getattr(section, key)
        if name is not None and not hasattr(study.config.evaluations[study.score(name)[0]], field):
            raise MeltpointError(f"parameter_search.{key}: {name} is no evaluation of {field}")


def steps_of(study: Study) -> list[Step]:
    """The steps of the search's runs."""
    sources = study.config.parameter_search.sources
    return [study.steps(chain)[-1] for source in sources for chain in study.chains(source)]


def percent(study: Study) -> str:
    """The level of the search in percent, 20 for 0.2."""
    return f"{100 * steps_of(study)[0].level.fraction:g}"


def runs(study: Study) -> dict[str, dict[str, str | int]]:
    """For each chain of the search the values of its factors, by the names of published columns."""
    key, found = study.config.parameter_search.method, {}
    for step in steps_of(study):
        settings = methods.find(step.method).settings(step).model_dump(mode="json")
        windows = study.windows(settings)
        found[str(step)] = {
            "pruning_method": str(settings[key]),
            "taylor_seq_len": windows["length"],
            "taylor_num_samples": windows["samples"],
        }
    return found


def cells(study: Study) -> list[tuple[str, str, str]]:
    """Cells (model, chain, evaluation) that the analysis reads."""
    section = study.config.parameter_search
    return [
        cell for source in section.sources for cell in study.cells(source, *section.evaluations)
    ]


def outputs(study: Study) -> list[str]:
    """Files of the analysis, below results/{study}/search; none for a study without a search."""
    section = study.config.parameter_search
    if section is None:
        return []
    level = percent(study)
    models = dict.fromkeys(m for source in section.sources for m in study.groups[source].models)
    return [
        *(f"consolidated_{model}_{level}/{name}" for model in models for name in RUNS),
        *(f"best_{model}_{level}/{name}" for model in models for name in BEST),
        *ACROSS,
    ]
