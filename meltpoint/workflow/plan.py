"""The plan of a study: paths of all inputs and outputs of the rules, and a summary of the work."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint import evaluations
from meltpoint.chain import DENSE, Sparsity
from meltpoint.data import published
from meltpoint.errors import MeltpointError, at
from meltpoint.files import from_here
from meltpoint.hashing import HashCache
from meltpoint.published import page as published_page
from meltpoint.report import study as study_page
from meltpoint.study import config as schema
from meltpoint.study import old_evaluations, renamed_keys
from meltpoint.study.check import check_keys
from meltpoint.study.data_files import check_documents
from meltpoint.study.resolved import Study
from meltpoint.study.sections import DrawnCalibration
from meltpoint.workflow import kept, requirements, searches, staleness
from meltpoint.workflow.bill import StudyBill
from meltpoint.workflow.cluster import check_cluster, check_sizes
from meltpoint.workflow.compressions import NOTHING, Compressions
from meltpoint.workflow.groups import Groups
from meltpoint.workflow.job_specs.study import JobSpecs
from meltpoint.workflow.model_sizes import ModelSizes, check_local_models
from meltpoint.workflow.moved_models import follow
from meltpoint.workflow.positions import check_positions
from meltpoint.workflow.requested import end_at_unknown
from meltpoint.workflow.rule_resources import RuleResources, check_gpus
from meltpoint.workflow.search_analysis import SearchAnalysis
from meltpoint.workflow.sources import source_paths
from meltpoint.workflow.vocabularies import check_vocabularies

if TYPE_CHECKING:
    from snakemake.iocontainers import Wildcards
    from snakemake.workflow import Workflow

# The files of a corpus that a calibration is drawn from, as parts of their names, by its sampling.
TOKEN_FILES = {
    "stream": ("",),
    "documents": ("documents.", "documents.offsets."),
    "first": ("documents.", "documents.offsets.", "documents.characters."),
}


class Plan:
    """The study in `config`, and the paths of all results of its rules.

    config: the dictionary that Snakemake has read, changed in place for the scripts: `compute` is
    completed; `sources` (paths of local models, texts and data) and `captions` are added.
    files: the file that `config` was read from, or none if a module's config was written out. The
    study's paths are relative to that file's folder, without a file to the working directory.
    root: the folder of the Snakefile. read_documents: whether to read the study's file, documents and
    vocabularies as well, to find errors before any job does. The jobs of a run leave this out.
    Raises MeltpointError for an invalid study and for more than one file.
    """

    published = "results/published"

    def __init__(self, config: dict, files: list, root: Path, read_documents: bool = False) -> None:
        if len(files) > 1:
            names = " and ".join(map(str, files))
            raise MeltpointError(
                f"one study at a time: {names} were given, and key by key they would be mixed"
            )
        self.source = Path(files[0] if files else "config")
        if read_documents and files:
            at(self.source.name, check_keys, self.source)
        self.config = schema.load(config, self.source.name)
        self.warnings = [
            *old_evaluations.warnings(config, self.source.name),
            *renamed_keys.warnings(config, self.source.name),
        ]
        folder = from_here(self.source.resolve().parent)
        try:
            self.study = Study(self.config, folder)
            check_local_models(self.study)
            check_positions(self.study)
            check_gpus(self.study)
            if read_documents:
                check_documents(self.study)
                check_vocabularies(self.study)
        except MeltpointError as error:
            raise MeltpointError(f"{self.source.name}: {error}") from None
        hashes = HashCache(Path(".snakemake/meltpoint_hashes.json"))
        self.job_specs = JobSpecs(self.study, root / "envs", hashes)
        config["compute"] = self.config.compute.model_dump(mode="json")
        config["sources"] = sources = source_paths(self.study, self.job_specs)
        for name, path in sources["models"].items():
            follow(Path(self.base_model(name)), Path(path))
        items = study_page.items(self.config, self.config.sweeps)
        config["captions"] = {item.name: item.caption for item in items}
        self.results = f"results/{self.config.study}"
        self.searches = searches.Searches(self.study, self.job_specs, self.results)
        self.compressions = Compressions(self.study, self.results)
        self.groups, self.sizes = Groups(self.study), ModelSizes(self.study)
        self.resources = RuleResources(self.study, self.sizes)
        self.bill = StudyBill(self.study, self.sizes, self.results)
        self.parameter_search = SearchAnalysis(self.study, self.results)
        self.logs, self.benchmarks = f"{self.results}/logs", f"{self.results}/benchmarks"
        self.page, self.threads = f"{self.results}/report.html", self.config.compute.threads

    def names(self, section: str, key: str | None = None) -> str:
        """Regular expression of the names in a section, with `key` only of parts that have that key."""
        parts = getattr(self.config, section)
        chosen = [n for n, part in parts.items() if key is None or key in type(part).model_fields]
        return "|".join(map(re.escape, chosen)) or NOTHING

    def training_threads(self, wildcards: "Wildcards") -> int:
        """Number of threads of the job that trains a model."""
        return self.config.models[wildcards.model].train.threads

    # --- what is made ---------------------------------------------------------------------------

    def targets(self) -> list[str]:
        """Paths of all results of the study: cells, transitions, tables, figures, report and record."""
        shown = (file for files in self.shown().values() for file in files)
        return [*shown, self.page, f"{self.results}/study.json"]

    def all_targets(self, workflow: "Workflow") -> list[str]:
        """Paths of all targets, after checking what the run needs.

        Without conda all jobs run in Snakemake's own environment, so the packages must be there. A
        scheduler needs the sizes of the models. If one is missing, the run ends with one sentence, as
        Snakemake prints a page for an exception in an input function.
        """
        deployment = workflow.deployment_settings.deployment_method
        try:
            if not any(method.name == "CONDA" for method in deployment):
                requirements.check_ahead(self.job_specs, self.cell, self.checkpoint_of)
            check_cluster(workflow)
            check_sizes(workflow, self.sizes)
        except MeltpointError as error:
            sys.exit(f"Error: {error}")
        if workflow.is_main_process:
            staleness.warn(frozenset(workflow.rerun_triggers))
        return self.targets()

    def shown(self) -> dict[str, list[str]]:
        """Paths of the files that the study's report shows, by kind."""
        fits, predicted = f"{self.results}/transitions", study_page.predicted(self.config)
        return {
            "cells": [self.cell(*cell) for cell in self.study.all_cells],
            "transitions": [f"{fits}/{sweep}.csv" for sweep in self.curves()],
            "predictions": [f"{fits}/{sweep}.predictions.csv" for sweep in predicted],
            "tables": [f"{self.results}/tables/{table}.csv" for table in self.config.tables],
            "figures": [f"{self.results}/figures/{figure}.svg" for figure in self.config.figures],
            "search": self.parameter_search.files,
        }

    def shown_of_published(self) -> list[str]:
        """Paths of the files that the page of the published results shows."""
        files = (file for item in published_page.items() for file in item.files)
        return sorted({f"{self.published}/{file}" for file in files})

    def curves(self) -> list[str]:
        """Names of the sweeps that have a score to fit and at least one numeric sparsity."""
        return [
            sweep
            for sweep in self.config.sweeps
            if self.fitted_cells_of(sweep) and self._over_sparsities(sweep)
        ]

    def _over_sparsities(self, sweep: str) -> bool:
        lasts = (self.study.steps(chain)[-1] for chain in self.study.chains(sweep))
        return any(isinstance(step.level, Sparsity) for step in lasts)

    def cell(self, model: str, chain: str, evaluation: str) -> str:
        """Path of a cell."""
        return f"{self.results}/cells/{model}/{chain}/{evaluation}.json"

    def checkpoint_of(self, model: str, chain: str) -> str:
        """Path of a chain's checkpoint; that of the base checkpoint for the empty chain."""
        if chain == DENSE:
            return f"results/models/{model}"
        return f"{self.results}/cells/{model}/{chain}/checkpoint"

    # --- compression ----------------------------------------------------------------------------

    def parent(self, wildcards: "Wildcards") -> str:
        """Path of the checkpoint that a compression or a search starts from."""
        end_at_unknown(self.study, wildcards.model, searches.chain_of(wildcards))
        return self.checkpoint_of(wildcards.model, searches.chain_before(wildcards))

    def base_model(self, model: str) -> str:
        """Path of a base checkpoint."""
        return f"results/models/{model}"

    def calibration_files(self, wildcards: "Wildcards") -> list[str]:
        """Paths of the tokens that a job's calibration is drawn from; [] if it is given as windows."""
        return self._token_files(wildcards, searches.calibration_of(self.study, wildcards))

    def validation_files(self, wildcards: "Wildcards") -> list[str]:
        """Paths of the tokens that a search's `validation_calibration` is drawn from, or []."""
        return self._token_files(wildcards, searches.validation_of(self.study, wildcards))

    def _token_files(self, wildcards: "Wildcards", name: str | None) -> list[str]:
        calibration = self.config.calibrations.get(name)
        if not isinstance(calibration, DrawnCalibration):
            return []
        stem = f"{self.results}/tokens/{wildcards.model}/{calibration.corpus}"
        return [f"{stem}.{part}npy" for part in TOKEN_FILES[calibration.sampling]]

    # --- evaluation -----------------------------------------------------------------------------

    def evaluation_kinds(self) -> list[evaluations.Evaluation]:
        """The kinds of evaluation, each of which has a rule."""
        return list(evaluations.registry().values())

    def evaluations_of(self, kind: evaluations.Evaluation) -> str:
        """Regular expression of the names of the study's evaluations of a kind."""
        declared = self.config.evaluations.items()
        names = [name for name, settings in declared if type(settings) is kind.settings_class]
        return "|".join(map(re.escape, names)) or NOTHING

    def kept(self, kind: evaluations.Evaluation) -> list[str]:
        """Paths of the files that a kind keeps beside a cell, with the wildcards of its rule."""
        return kind.files_beside(self.cell("{model}", "{chain}", "{evaluation}"))

    def evaluation_inputs(self, wildcards: "Wildcards") -> dict[str, str | list[str]]:
        """Paths of the files that a measurement reads, by their names in `Inputs`.

        `dense` are the dense model's cell and the files kept beside it; dense itself has no such key.
        """
        end_at_unknown(self.study, wildcards.model, wildcards.chain)
        settings = self.config.evaluations[wildcards.evaluation]
        kind = evaluations.kind_of(settings)
        needs = kind.needs(settings)
        files = {"checkpoint": self.checkpoint_of(wildcards.model, wildcards.chain)}
        files |= needs.token_files(f"{self.results}/tokens/{wildcards.model}")
        if needs.dense_checkpoint:
            files["dense_checkpoint"] = self.base_model(wildcards.model)
        if needs.checkpoints:
            named = map(self.study.checkpoint_named, needs.checkpoints)
            files["others"] = [self.checkpoint_of(model, chain) for model, chain in named]
        if wildcards.chain != DENSE:
            cell = self.cell(wildcards.model, DENSE, wildcards.evaluation)
            files["dense"] = [cell, *kind.files_beside(cell)]
        return files

    def evaluation_threads(self, kind: evaluations.Evaluation, cores: int | None) -> int:
        """Number of threads of a job: all cores for a kind that needs the machine for itself."""
        return cores if kind.alone and cores else self.threads

    def env(self, wildcards: "Wildcards") -> str:
        """Path, relative to the rules, of the file of the environment that measures a cell."""
        return self.env_file(self.job_specs.runtime(wildcards.chain, wildcards.evaluation))

    def env_file(self, name: str) -> str:
        """Path of an environment's file, relative to the rules: the one in `gpu/` on a CUDA device.

        Job specs always hold the hash of the other file, because the device is not part of them.
        """
        gpu = self.job_specs.envs / f"gpu/{name}.yaml"
        on_gpu = self.config.compute.device.startswith("cuda") and gpu.exists()
        return f"../envs/{'gpu/' if on_gpu else ''}{name}.yaml"

    # --- tables and figures ---------------------------------------------------------------------

    def cells_of(self, section: str, name: str) -> list[str]:
        """Paths of the cells that a table or figure shows."""
        part = getattr(self.config, section)[name]
        return [self.cell(*cell) for cell in self.study.cells(part.source, *part.evaluations)]

    def kept_of(self, section: str, name: str) -> list[str]:
        """Paths of files beside the cells of a table, figure or sweep; [] if it pairs no windows."""
        if section == "sweeps":
            return kept.files(self.study, self.results, self.study.fitted_cells(name))
        part = getattr(self.config, section)[name]
        cells = self.study.cells(part.source, *part.evaluations) if part.needs_samples else []
        return kept.files(self.study, self.results, cells)

    def fitted_cells_of(self, sweep: str) -> list[str]:
        """Paths of a sweep's cells that hold the scores to fit."""
        return [self.cell(*cell) for cell in self.study.fitted_cells(sweep)]

    def perplexity_cells_of(self, sweep: str) -> list[str]:
        """Paths of a sweep's cells that hold a perplexity."""
        return [self.cell(*cell) for cell in self.study.perplexity_cells(sweep)]

    def transitions_of(self, figure: str) -> list[str]:
        """Path, in a list, of the fitted curves that a figure draws; [] if it draws none."""
        part = self.config.figures[figure]
        return [f"{self.results}/transitions/{part.source}.csv"] if part.needs_transitions else []

    @staticmethod
    def published_tables(*names: str) -> list[str]:
        """Paths of published tables."""
        return [str(published.FOLDER / f"{name}.csv") for name in names]

    # --- what lies ahead ------------------------------------------------------------------------

    def summary(self, cores: int | None) -> str:
        """Summary of the work before a run: warnings of old spellings, then the bill."""
        return "\n".join([*self.warnings, self.bill.text(self.source.name, cores)])
