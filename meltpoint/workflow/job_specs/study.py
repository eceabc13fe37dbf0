"""The job specs of a study's results."""

from functools import cache
from pathlib import Path

from meltpoint import evaluations, methods
from meltpoint.chain import DENSE, Step, spell_chain
from meltpoint.checkpoints import formats
from meltpoint.data.text_files import suffix_of
from meltpoint.evaluations import engines
from meltpoint.hashing import HashCache, hash_file
from meltpoint.study import parameter_search
from meltpoint.study.data_files import data_files
from meltpoint.study.resolved import Cell, Study
from meltpoint.study.sections import BuiltinCorpus, GivenCalibration, TokenCorpus
from meltpoint.study.training_texts import DEFAULT
from meltpoint.workflow.job_specs import base_models
from meltpoint.workflow.job_specs.documents import (
    CompressSpec,
    EvaluateSpec,
    FigureSpec,
    JobSpec,
    ParameterSearchSpec,
    PredictionsSpec,
    SearchSpec,
    TableSpec,
    TokensSpec,
    TransitionsSpec,
    digest,
)
from meltpoint.workflow.job_specs.frame_steps import steps_of
from meltpoint.workflow.job_specs.pages import PageSpecs
from meltpoint.workflow.job_specs.published_tables import hash_beside
from meltpoint.workflow.job_specs.shown_code import LLAMA, code_over
from meltpoint.workflow.staleness import code_hash

LLAMA_ENV = "llama"


class JobSpecs(PageSpecs):
    """The job specs of a study's results. `envs` is the folder of environment files."""

    def __init__(self, study: Study, envs: Path, hashes: HashCache) -> None:
        self.study, self.config = study, study.config
        self.envs, self.hashes = envs, hashes
        self._env = cache(lambda name: hash_file(envs / f"{name}.yaml")[:16])
        for name in ("model", "tokens", "compress", "search", "evaluation", "transitions", "table"):
            setattr(self, name, cache(getattr(self, name)))

    def model(self, name: str) -> JobSpec:
        """Spec of the base checkpoint: its source, and the hash of local files."""
        return base_models.spec(self.study, name, self.hashes, self._env("torch"))

    def tokens(self, model: str, corpus: str) -> TokensSpec:
        """Spec of a corpus's tokens: its declaration and the content of its file."""
        declared = self.config.corpora[corpus]
        facts = declared.model_dump(mode="json", exclude={"path", "tokens"})
        scripts = ["scripts.tokens", "scripts.tokens_of_documents"]
        if facts.get("instructions") is None:
            facts.pop("instructions", None)
        else:
            scripts.append("scripts.tokens_of_instructions")
        file, text = self.corpus_file(corpus), None
        if file is not None:
            facts["suffix"] = suffix_of(file)
        if isinstance(declared, BuiltinCorpus):
            from meltpoint.demo.text import version

            text = version()
        return TokensSpec(
            corpus=facts,
            file=file and self.hashes.file(file),
            text=text,
            code=code_hash(*scripts),
            env=self._env("torch"),
            inputs=digest([self.model(model)]),
        )

    def corpus_file(self, corpus: str) -> Path | None:
        """Path of a local corpus's file; None for any other corpus."""
        declared = self.config.corpora[corpus]
        file = declared.tokens if isinstance(declared, TokenCorpus) else None
        file = getattr(declared, "path", file)
        return None if file is None else self.study.path(file)

    def windows_file(self, calibration: str) -> Path | None:
        """Path of a calibration that is given as windows; None for any other calibration."""
        declared = self.config.calibrations[calibration]
        return self.study.path(declared.windows) if isinstance(declared, GivenCalibration) else None

    def checkpoint(self, model: str, chain: str) -> JobSpec:
        """Spec of a chain's checkpoint; of the base checkpoint for the empty chain."""
        return self.model(model) if chain == DENSE else self.compress(model, chain)

    def compress(self, model: str, chain: str) -> CompressSpec:
        """Spec of a chain's checkpoint: its last step's settings and the method's code."""
        *steps, step = self.study.steps(chain)
        prefix = spell_chain(tuple(steps))
        method = methods.find(step.method)
        settings = self.study.settings(step)
        inputs = [self.checkpoint(model, prefix)]
        if method.calibrated(step):
            inputs += self._calibration(model, settings)
        inputs += self._training_texts(model, settings)
        if method.has_search:
            inputs.append(self.search(model, prefix, method.search_step(step)))
        return CompressSpec(
            chain=chain,
            prefix=prefix,
            step=str(step),
            settings=settings,
            dtype=self.config.compute.dtype,
            code=code_hash("scripts.compress", *method.sources, *self._formats(chain)),
            env=self._env(method.env),
            inputs=digest(inputs),
        )

    def _formats(self, chain: str) -> tuple[str, ...]:
        """Modules that read the packed weights of a chain's checkpoints, where any may be packed."""
        steps = self.study.steps(chain)
        walked = all(methods.find(step.method).is_blockwise for step in steps)
        return () if walked else formats.modules()

    def search(self, model: str, chain: str, step: Step) -> SearchSpec:
        """Spec of a method's search on a chain's checkpoint: the settings that it reads, its code."""
        method = methods.find(step.method)
        settings = self.study.search_settings(step)
        inputs = [self.checkpoint(model, chain)]
        if "windows" in settings:
            inputs += self._calibration(model, settings)
        if "validation_calibration" in settings:
            inputs += self._calibration(model, settings["validation_calibration"])
        if earlier := method.earlier_search(step):
            inputs.append(self.search(model, chain, earlier))
        return SearchSpec(
            search=str(step),
            chain=chain,
            settings=settings,
            dtype=self.config.compute.dtype,
            code=code_hash("scripts.search", *method.search_sources, *self._formats(chain)),
            env=self._env(method.env),
            inputs=digest(inputs),
        )

    def _calibration(self, model: str, settings: dict) -> list[JobSpec]:
        """Specs of the calibration's tokens; windows that are given as a file go by its hash."""
        if file := self.windows_file(settings["calibration"]):
            settings["windows"] = {"file": self.hashes.file(file)}
            return []
        return [self.tokens(model, settings["windows"]["corpus"])]

    def _training_texts(self, model: str, settings: dict) -> list[JobSpec]:
        """Specs of the tokens that a step is trained on; windows that are given go by their hash."""
        texts = settings.get("texts", {}).values()
        for text in texts:
            if "file" in text:
                text["file"] = self.hashes.file(self.windows_file(DEFAULT))
        return [self.tokens(model, text["corpus"]) for text in texts if "corpus" in text]

    def evaluation(self, model: str, chain: str, evaluation: str) -> EvaluateSpec:
        """Spec of a cell: its kind and settings, and what of `compute` changes its numbers."""
        settings = self.config.evaluations[evaluation]
        kind = evaluations.kind_of(settings)
        tokens = (self.tokens(model, corpus) for corpus in kind.corpora(settings))
        files = data_files(self.study, evaluation)
        named = map(self.study.checkpoint_named, kind.needs(settings).checkpoints)
        others = [self.checkpoint(*each) for each in named]
        return EvaluateSpec(
            cell={"model": model, "chain": chain, "evaluation": evaluation},
            kind=kind.name,
            main=next(iter(kind.scores(settings))),
            settings=settings.model_dump(mode="json", exclude={"main", "data"}),
            data={name: self.hashes.file(file) for name, file in files.items()},
            compute={key: getattr(self.config.compute, key) for key in kind.compute},
            code=self._evaluation_code(kind, chain),
            env=self._env(self.runtime(chain, evaluation)),
            inputs=digest([self.checkpoint(model, chain), *tokens, *others]),
        )

    def _evaluation_code(self, kind: evaluations.Evaluation, chain: str) -> str:
        """Hash of a kind's code, and of the engine that runs a chain's checkpoint for it."""
        steps = self.study.steps(chain)
        env = methods.find(steps[-1].method).evaluation_env if steps else "torch"
        runs = kind.opens_engine or kind.own_kernels
        engine = engines.planned(env, kind.own_kernels).sources if runs else ()
        others = () if env == LLAMA_ENV else (LLAMA,)
        modules = ("scripts.evaluate", *kind.sources, *engine, *self._formats(chain))
        return code_hash(*modules, without=others)

    def runtime(self, chain: str, evaluation: str) -> str:
        """The environment that a chain's cell is measured in.

        It is the evaluation's own, unless the last method has one for what it makes.
        """
        kind = evaluations.kind_of(self.config.evaluations[evaluation])
        steps = self.study.steps(chain)
        last = methods.find(steps[-1].method) if steps else None
        if last is None:
            return kind.env
        if kind.own_kernels and not last.is_blockwise:
            return last.env
        return kind.env if last.evaluation_env == "torch" else last.evaluation_env

    def _cells(self, part) -> list[EvaluateSpec]:
        """Specs of the cells that a table or figure shows."""
        return [self.evaluation(*cell) for cell in self.study.cells(part.source, *part.evaluations)]

    def transitions(self, sweep: str) -> TransitionsSpec:
        """Spec of a sweep's transition points."""
        of_curves = self._of_curves(self.study.fitted_cells(sweep), sweep, "scripts.transitions")
        return TransitionsSpec(**of_curves, scores=self.study.fitted(sweep))

    def predictions(self, sweep: str) -> PredictionsSpec:
        """Spec of what a sweep's curves predict of its held-out levels."""
        held_out = {"hold_out": self.config.sweeps[sweep].predict.hold_out}
        names = self.study.perplexity_cells(sweep)
        return PredictionsSpec(**self._of_curves(names, sweep, "scripts.predictions"), **held_out)

    def _of_curves(self, names: list[Cell], sweep: str, script: str) -> dict:
        cells = [self.evaluation(*cell) for cell in names]
        return {
            "steps": steps_of(self.study, sweep),
            "code": code_over(cells, script),
            "env": self._env("analysis"),
            "inputs": digest(cells),
        }

    def table(self, name: str) -> TableSpec:
        """Spec of a table."""
        table = self.config.tables[name]
        cells = self._cells(table)
        return TableSpec(
            table=table.model_dump(mode="json"),
            steps=steps_of(self.study, table.source),
            published=hash_beside(table),
            code=code_over(cells, "scripts.table"),
            env=self._env("analysis"),
            inputs=digest(cells),
        )

    def figure(self, name: str) -> FigureSpec:
        """Spec of a figure; only the code of its own kind counts."""
        figure = self.config.figures[name]
        cells = self._cells(figure)
        fitted = [self.transitions(figure.source)] if figure.needs_transitions else []
        return FigureSpec(
            figure=figure.model_dump(mode="json"),
            steps=steps_of(self.study, figure.source),
            published=hash_beside(figure),
            code=code_over(cells, "scripts.figure", f"meltpoint.figures.{figure.kind}"),
            env=self._env("analysis"),
            inputs=digest([*cells, *fitted]),
        )

    def parameter_search(self) -> ParameterSearchSpec:
        """Spec of the analysis of the study's parameter search."""
        search, steps = self.config.parameter_search, {}
        cells = [self.evaluation(*cell) for cell in parameter_search.cells(self.study)]
        for source in search.sources:
            steps |= steps_of(self.study, source)
        return ParameterSearchSpec(
            search=search.model_dump(mode="json"),
            varied=parameter_search.runs(self.study),
            percent=parameter_search.percent(self.study),
            steps=steps,
            code=code_over(cells, "scripts.parameter_search"),
            env=self._env("analysis"),
            inputs=digest(cells),
        )
