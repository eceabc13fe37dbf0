"""The registry: every file of this folder that is not one of `SHARED` is a kind of evaluation.

A kind has the name of its file, which is also the key that names it in a study:
``docs-256: {perplexity: docs-test, window: 256}``. Its file declares, at module level:

``Settings``
    the keys that a study may set: a `meltpoint.evaluations.contract.EvaluationSettings`, with a field
    of the kind's name for its subject
``scores``
    its scores, a tuple of `ScoreSpec`, the main one first; or a function of the settings that
    returns them
``example``
    settings as a study may have them, for the docs
``measure(engine, inputs, settings)``
    the measurement of one checkpoint, a `Measurement`. ``engine`` is an open engine
    (`meltpoint.evaluations.engines`), ``inputs`` are `Inputs`. Raises NotApplicable, with the reason,
    for what cannot be measured
``estimate(kept, inputs, settings)``
    optional: scores computed from the files that are kept beside the cell, ``{name: Estimate}``. It is
    called for the dense model's files too, and the units of both are paired
``keeps``
    optional: the endings of the files that are kept beside the cell, such as ``("nll.npy",)``
``needs(settings)``
    optional: the inputs that the kind reads besides the checkpoint, a `Needs`
``check(key, settings, data)``
    optional: raises MeltpointError, naming the key or the file, for an error that can be found before
    anything runs. ``data`` is the folder of the data files, None if the study names none. The function
    imports no torch
``floors(kept, settings)``
    optional: the values that a model without knowledge reaches, by score; the others are 0
``write_dense(engine, inputs, settings, ending, path)``
    for a kind whose `Needs` name `dense_files`: writes the dense model's file with this ending to the
    path; ``engine`` runs the dense model
``dense_vectors(settings, tokens)``
    for a kind with `dense_files`: number of hidden states that it keeps for a corpus of so many tokens,
    None if that is unknown
``env``
    optional: the environment of the kind's jobs, a file of ``envs/`` without its ending. Default:
    ``torch``. An environment for evaluations that the last method of a chain declares comes first
``opens_engine``, ``computes``
    optional: False for a kind that needs no open engine (then ``engine`` is None), or no torch
``sources``
    optional: modules that compute its cells and that a registry loads by name
``own_kernels``
    optional: True for a kind that runs a checkpoint with the kernels of the library that made it,
    and so in the environment of the chain's last method
``compute``
    optional: the keys of the study's `compute` section that change the kind's numbers. Default:
    ``("dtype",)``
``resources``
    optional: the resources that a job needs, a `meltpoint.resources.Resources`
``alone``
    optional: True for a kind that needs the machine for itself
``old_values``
    optional: values of the kind's key that older studies have, each with the settings that it means

The docstring of the file is the kind's section in the docs. Its first sentence is the kind's row in
their table.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from meltpoint.errors import MeltpointError
from meltpoint.evaluations.contract import EvaluationSettings, Kept, Needs, ScoreSpec
from meltpoint.resources import Resources
from meltpoint.text import did_you_mean, first_sentence

# Files of this folder that are not kinds of evaluation.
SHARED = ("cells", "contract", "dense_files", "engines", "measurement", "windows")


@dataclass(frozen=True)
class Evaluation:
    """A kind's file, as the rest of the library sees it."""

    name: str
    module: ModuleType

    def _optional(self, name: str, default):
        return getattr(self.module, name, default)

    @property
    def example(self) -> EvaluationSettings:
        """Settings as a study may have them."""
        return self.settings_class(**self.module.example)

    @property
    def settings_class(self) -> type[EvaluationSettings]:
        """The class of its settings."""
        return self.module.Settings

    def settings_of(self, protocol: Mapping[str, object]) -> EvaluationSettings:
        """The settings with which a cell was measured, read from its protocol."""
        known = self.settings_class.model_fields
        return self.settings_class(**{key: protocol[key] for key in known if key in protocol})

    def scores(self, settings: EvaluationSettings) -> dict[str, ScoreSpec]:
        """Specs of the scores by name, the main one first.

        Raises MeltpointError if the settings' `main` is not one of them.
        """
        declared = self.module.scores
        specs = declared(settings) if callable(declared) else declared
        by_name = {spec.name: spec for spec in specs}
        if settings.main is None:
            return by_name
        if settings.main not in by_name:
            raise MeltpointError(
                f"main: {self.name} has no score {settings.main!r}"
                f"{did_you_mean(settings.main, by_name)}"
            )
        return {settings.main: by_name[settings.main], **by_name}

    def needs(self, settings: EvaluationSettings) -> Needs:
        """The inputs that the kind reads besides the checkpoint; none unless its file declares them."""
        return self._optional("needs", lambda _: Needs())(settings)

    def check(self, key: str, settings: EvaluationSettings, data: Path | None) -> None:
        """Raises MeltpointError for settings or documents that the kind's jobs would refuse."""
        self._optional("check", lambda *_: None)(key, settings, data)

    def floors(self, kept: Kept, settings: EvaluationSettings) -> dict[str, float]:
        """Values that a model without knowledge reaches, by score; a score that is missing has 0."""
        return self._optional("floors", lambda *_: {})(kept, settings)

    def corpora(self, settings: EvaluationSettings) -> list[str]:
        """Names of the study's corpora that the kind reads."""
        needs = self.needs(settings)
        return [corpus for corpus in (needs.tokens, needs.documents) if corpus is not None]

    @property
    def keeps(self) -> tuple[str, ...]:
        """The endings of the files that are kept beside a cell."""
        return self._optional("keeps", ())

    def files_beside(self, cell: str) -> list[str]:
        """Paths of the files that are kept beside the cell with the path `cell`."""
        return [f"{cell.removesuffix('.json')}.{ending}" for ending in self.keeps]

    @property
    def env(self) -> str:
        """Name of the environment of its jobs, a file of `envs/` without its ending."""
        return self._optional("env", "torch")

    @property
    def opens_engine(self) -> bool:
        """True if `measure` needs an open engine; otherwise its `engine` is None."""
        return self._optional("opens_engine", True)

    @property
    def computes(self) -> bool:
        """True if its jobs need torch."""
        return self._optional("computes", True)

    @property
    def own_kernels(self) -> bool:
        """True if it runs a checkpoint with the kernels of the library that made the checkpoint."""
        return self._optional("own_kernels", False)

    @property
    def compute(self) -> tuple[str, ...]:
        """The keys of a study's `compute` section that change its numbers."""
        return self._optional("compute", ("dtype",))

    @property
    def resources(self) -> Resources:
        """Resources that a job of this kind needs."""
        return self._optional("resources", Resources())

    @property
    def alone(self) -> bool:
        """True if no other job may run beside a job of this kind."""
        return self._optional("alone", False)

    @property
    def old_values(self) -> Mapping[str, Mapping[str, object]]:
        """Old values of the key that names the kind, each with the settings that replace it."""
        return self._optional("old_values", {})

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        return first_sentence(self.module.__doc__)

    @property
    def sources(self) -> tuple[str, ...]:
        """The modules that, with their imports, compute a cell of this kind."""
        # The names are put together here: a full name in the code would count as an import, in the
        # import closure of every module that imports this registry.
        engines = (f"{__name__}.engines",) if self.opens_engine else ()
        others = self._optional("sources", ())
        return (self.module.__name__, f"{__name__}.measurement", *engines, *others)


_registry: dict[str, Evaluation] = {}


def registry() -> dict[str, Evaluation]:
    """All kinds of evaluation by name, found as the files of this folder."""
    if not _registry:
        names = (info.name for info in pkgutil.iter_modules(__path__))
        for name in sorted(n for n in names if n not in SHARED and not n.startswith("_")):
            _registry[name] = _load(name)
    return _registry


def _load(name: str) -> Evaluation:
    kind = Evaluation(name, importlib.import_module(f"{__name__}.{name}"))
    for attribute in ("Settings", "scores", "example", "measure"):
        if not hasattr(kind.module, attribute):
            raise MeltpointError(f"evaluations/{name}.py: an evaluation declares {attribute!r}")
    if not issubclass(kind.settings_class, EvaluationSettings):
        raise MeltpointError(f"evaluations/{name}.py: Settings is a class of EvaluationSettings")
    if name not in kind.settings_class.model_fields:
        raise MeltpointError(
            f"evaluations/{name}.py: Settings needs a field {name!r}: it names the kind in a study"
        )
    return kind


def find(name: str) -> Evaluation:
    """The kind of that name; raises MeltpointError, naming the nearest, if there is none."""
    kinds = registry()
    if name not in kinds:
        raise MeltpointError(f"unknown kind of evaluation {name!r}{did_you_mean(name, kinds)}")
    return kinds[name]


def kind_of(settings: EvaluationSettings) -> Evaluation:
    """The kind whose file declares the class of these settings."""
    return find(type(settings).__module__.rpartition(".")[2])
