"""A resolved study: its chains in their canonical spelling, its cells and their checkpoints."""

import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from meltpoint import methods
from meltpoint.chain import (
    DENSE,
    Level,
    Step,
    parse_chain,
    parse_level,
    parse_step,
    spell,
    spell_chain,
)
from meltpoint.errors import MeltpointError, at
from meltpoint.evaluations import kind_of
from meltpoint.evaluations.contract import PERPLEXITY, ScoreSpec
from meltpoint.study import output_checks
from meltpoint.study.config import StudyConfig
from meltpoint.study.grids import check_grids
from meltpoint.study.path_names import check_path_names
from meltpoint.study.score_names import split_name
from meltpoint.study.sections import DrawnCalibration, GivenCalibration, TokenCorpus
from meltpoint.study.source_files import check_source_files
from meltpoint.study.stream_checks import check_stream
from meltpoint.study.training_texts import check_training_texts, training_texts
from meltpoint.text import did_you_mean

Cell = tuple[str, str, str]


class Study:
    """A study's config, resolved. `folder` is the folder that its paths are relative to.

    Raises MeltpointError, naming the key, for an unknown method or setting, a level that the method
    does not take, a chain that does not parse, an undefined calibration, or a missing file.
    """

    def __init__(self, config: StudyConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.groups = {**config.sweeps, **config.chains}
        self._chains: dict[str, tuple[Step, ...]] = {DENSE: ()}
        self._of_group = {
            **{name: self._sweep(f"sweeps.{name}", s) for name, s in config.sweeps.items()},
            **{name: self._listed(f"chains.{name}", c) for name, c in config.chains.items()},
        }
        for name, section in config.chains.items():
            included = (chain for other in section.include for chain in self._of_group[other])
            self._of_group[name] = list(dict.fromkeys([*self._of_group[name], *included]))
        check_path_names(self)
        check_source_files(self)
        check_stream(self)
        for name, settings in config.evaluations.items():
            for checkpoint in kind_of(settings).needs(settings).checkpoints:
                at(f"evaluations.{name}", self.checkpoint_named, checkpoint)
        output_checks.check(self)

    def chains(self, group: str) -> list[str]:
        """A group's chains in their canonical spelling, in the order of the study."""
        return list(self._of_group[group])

    def steps(self, chain: str) -> tuple[Step, ...]:
        """The steps of one of the study's chains, or of a prefix of one."""
        return self._chains.get(chain) or parse_chain(chain)

    def kind(self, chain: str) -> str:
        """Kind of a chain's last method; "" for the dense chain."""
        steps = self.steps(chain)
        return methods.find(steps[-1].method).kind if steps else ""

    def cells(self, group: str, *scores: str) -> list[Cell]:
        """Cells (model, chain, evaluation) of a sweep or chains section, each once, dense first.

        scores: names as tables and figures give them, to get only the cells that hold these scores.
        """
        section = self.groups[group]
        evaluations = dict.fromkeys(self.score(name)[0] for name in scores or section.evaluations)
        chains = dict.fromkeys([DENSE, *self.chains(group)])
        return list(itertools.product(section.models, chains, evaluations))

    def score(self, name: str) -> tuple[str, ScoreSpec]:
        """Evaluation and spec of the score that a name in a table, figure or sweep stands for."""
        return split_name(name, self.config.evaluations)

    def perplexity(self, name: str) -> bool:
        """True if a name in the study stands for a perplexity."""
        return self.score(name)[1].name == PERPLEXITY

    def full_name(self, name: str) -> str:
        """Full form `evaluation.score` of a score's name in the study."""
        evaluation, score = self.score(name)
        return f"{evaluation}.{score.name}"

    def fitted(self, sweep: str) -> list[str]:
        """Names `evaluation.score` of the scores to which a sweep's curves are fitted."""
        section = self.config.sweeps[sweep]
        names = [*filter(self.perplexity, section.evaluations), *section.transitions]
        return list(dict.fromkeys(map(self.full_name, names)))

    def fitted_cells(self, sweep: str) -> list[Cell]:
        """Cells of a sweep that hold the scores to fit; [] if there are none."""
        scores = self.fitted(sweep)
        return self.cells(sweep, *scores) if scores else []

    def perplexity_cells(self, sweep: str) -> list[Cell]:
        """Cells of a sweep or chains section that hold a perplexity; [] if there are none."""
        scores = [name for name in self.groups[sweep].evaluations if self.perplexity(name)]
        return self.cells(sweep, *scores) if scores else []

    @cached_property
    def all_cells(self) -> list[Cell]:
        """Every cell of the study, once."""
        return list(dict.fromkeys(cell for group in self.groups for cell in self.cells(group)))

    @cached_property
    def checkpoints(self) -> list[tuple[str, str]]:
        """Every checkpoint (model, chain) that the cells need, prefixes included, dense left out."""
        found = {
            (model, spell_chain(self.steps(chain)[:n]))
            for model, chain in [cell[:2] for cell in self.all_cells] + self.named_checkpoints
            for n in range(1, len(self.steps(chain)) + 1)
        }
        return sorted(found)

    @cached_property
    def known_checkpoints(self) -> frozenset[tuple[str, str]]:
        """All checkpoints (model, chain) as a set, for fast lookup."""
        return frozenset(self.checkpoints)

    @cached_property
    def named_checkpoints(self) -> list[tuple[str, str]]:
        """Checkpoints (model, chain) that evaluations read besides the one that they measure."""
        declared = self.config.evaluations.values()
        names = (name for each in declared for name in kind_of(each).needs(each).checkpoints)
        return [self.checkpoint_named(name) for name in dict.fromkeys(names)]

    def checkpoint_named(self, name: str) -> tuple[str, str]:
        """Model and chain of a checkpoint that is named `model` or `model/chain`.

        Raises MeltpointError for a model that the study lacks, and for a chain that does not parse.
        """
        model, _, chain = name.partition("/")
        if model not in self.config.models:
            raise MeltpointError(
                f"undefined model {model!r}{did_you_mean(model, self.config.models)}"
            )
        steps = parse_chain(chain or DENSE)
        return model, self._checked(name, tuple(self._canonical(name, step) for step in steps))

    @cached_property
    def prefixes(self) -> set[tuple[str, str]]:
        """Checkpoints (model, chain) from which another checkpoint is built; dense is among them."""
        return {(m, spell_chain(self.steps(chain)[:-1])) for m, chain in self.checkpoints}

    def settings(self, step: Step) -> dict:
        """Resolved settings of a step, with `windows` if calibrated and `texts` if it trains."""
        method = methods.find(step.method)
        settings = method.settings(step).model_dump(mode="json")
        if method.calibrated(step):
            settings["windows"] = self.windows(settings)
        if texts := training_texts(self.config, method.settings(step)):
            settings["texts"] = texts
        return settings

    def search_settings(self, step: Step) -> dict:
        """Resolved settings of a search, with `windows` if the method reads a calibration.

        The value of `validation_calibration` holds the second calibration's name and its `windows`.
        """
        settings = methods.find(step.method).settings(step)
        resolved = settings.model_dump(mode="json")
        found = {**resolved, "windows": self.windows(resolved)} if settings.calibrated else resolved
        if name := settings.validation_calibration:
            windows = self.windows({**resolved, "calibration": name})
            found["validation_calibration"] = {"calibration": name, "windows": windows}
        return found

    def windows(self, settings: dict) -> dict:
        """All keys of the calibration that settings name, with their own samples, length and seed."""
        calibration = self.config.calibrations[settings["calibration"]]
        if isinstance(calibration, GivenCalibration):
            return {"file": str(calibration.windows)}
        changes = {k: settings[k] for k in ("samples", "length", "seed") if settings[k] is not None}
        windows = {**calibration.model_dump(mode="json"), **changes}
        unused = "seed" if calibration.sampling == "first" else "min_characters"
        return {key: value for key, value in windows.items() if key != unused}

    def path(self, path: Path) -> Path:
        """A path of the study, relative to the working directory or absolute."""
        return path if path.is_absolute() else self.folder / path

    # --- reading sweeps and chains -----------------------------------------------------------

    def _sweep(self, key: str, sweep) -> list[str]:
        steps = list(dict.fromkeys(self._product(key, sweep)))
        return [self._checked(f"{key}.methods", (step,)) for step in steps]

    def _product(self, key: str, sweep) -> list[Step]:
        """The steps of a sweep, or of a stage of chains."""
        bases = [self._step(f"{key}.methods", text) for text in sweep.methods]
        known = {f for base in bases for f in methods.find(base.method).settings_class.model_fields}
        for setting in sweep.settings:
            if setting not in known:
                raise MeltpointError(
                    f"{key}.settings: none of its methods has a setting "
                    f"{setting!r}{did_you_mean(setting, known)}"
                )
        levels = [at(f"{key}.levels", parse_level, level) for level in sweep.levels]
        return [s for base in bases for s in self._expand(key, base, levels, sweep.settings)]

    def _step(self, key: str, text: str) -> Step:
        step = at(key, parse_step, text)
        at(key, methods.find, step.method)
        if step.level is not None:
            raise MeltpointError(f"{key}: {text!r}: levels stand under `levels`")
        return step

    def _expand(
        self, key: str, base: Step, levels: list[Level], settings: dict[str, list]
    ) -> Iterator[Step]:
        method = methods.find(base.method)
        own = {k: v for k, v in settings.items() if k in method.settings_class.model_fields}
        if method.levels and not levels:
            raise MeltpointError(f"{key}.levels: {method.name} needs levels")
        for level in levels if method.levels else [None]:
            for values in itertools.product(*own.values()):
                chosen = dict(zip(own, map(spell, values), strict=True))
                overrides = tuple(sorted({**dict(base.overrides), **chosen}.items()))
                yield self._canonical(key, Step(base.method, level, overrides))

    def _listed(self, key: str, section) -> list[str]:
        parsed = (at(f"{key}.chains", parse_chain, text) for text in section.chains)
        written = [tuple(self._canonical(f"{key}.chains", s) for s in steps) for steps in parsed]
        chains = [self._checked(f"{key}.chains", steps) for steps in written]
        staged = self._staged(f"{key}.stages", section.stages)
        chains += [self._checked(f"{key}.stages", steps) for steps in staged]
        return list(dict.fromkeys(chains))

    def _staged(self, key: str, stages: list) -> Iterator[tuple[Step, ...]]:
        """Chains of one step from each stage. A stage with `skip` may also add none."""
        options = [
            [*([None] if stage.skip else []), *self._product(f"{key}.{n}", stage)]
            for n, stage in enumerate(stages)
        ]
        chains = (tuple(filter(None, steps)) for steps in itertools.product(*options))
        return filter(None, chains)

    def _canonical(self, key: str, step: Step) -> Step:
        method = at(key, methods.find, step.method)
        at(key, method.check_level, step.level)
        step = at(key, method.canonical, step)
        settings = method.settings(step)
        if method.calibrated(step) or (method.has_search and settings.calibrated):
            self._check_calibration(key, settings)
        check_training_texts(key, self.config, settings)
        if name := settings.validation_calibration:
            unchanged = dict.fromkeys(("samples", "length", "seed"))
            second = {"calibration": name, **unchanged}
            self._check_calibration(key, settings.model_copy(update=second))
        return step

    def _check_calibration(self, key: str, settings) -> None:
        known = self.config.calibrations
        if settings.calibration not in known:
            usual = ", which a method takes unless it names another"
            raise MeltpointError(
                f"{key}: undefined calibration {settings.calibration!r}"
                f"{usual if settings.calibration == 'default' else ''}"
                f"{did_you_mean(settings.calibration, known)}"
            )
        calibration = known[settings.calibration]
        changed = [k for k in ("samples", "length", "seed") if getattr(settings, k) is not None]
        if isinstance(calibration, GivenCalibration) and changed:
            raise MeltpointError(
                f"{key}: {changed[0]} cannot be set: the calibration {settings.calibration!r} is "
                "given as windows"
            )
        if isinstance(calibration, DrawnCalibration):
            if calibration.sampling == "first" and settings.seed is not None:
                raise MeltpointError(
                    f"{key}: seed cannot be set: the calibration {settings.calibration!r} has "
                    "sampling: first, which draws nothing at random"
                )
            corpus = self.config.corpora[calibration.corpus]
            if isinstance(corpus, TokenCorpus) and calibration.sampling != "stream":
                raise MeltpointError(
                    f"calibrations.{settings.calibration}.sampling: {calibration.corpus} is given "
                    "as tokens, which have no documents: use sampling: stream"
                )

    def _checked(self, key: str, steps: tuple[Step, ...]) -> str:
        """Canonical spelling of a chain; raises MeltpointError if a step needs a grid and has none."""
        check_grids(key, steps)
        chain = spell_chain(steps)
        self._chains[chain] = steps
        return chain
