"""The study: the one source of its schema, its defaults and its reference page."""

import itertools
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from meltpoint import evaluations
from meltpoint.errors import MeltpointError, at
from meltpoint.study.model_sections import (
    GgufModel,
    HubModel,
    LocalModel,
    PackageModel,
    TrainedModel,
)
from meltpoint.study.old_evaluations import with_new_spellings
from meltpoint.study.outputs import Figure
from meltpoint.study.parameter_search import ParameterSearch
from meltpoint.study.refusals import sentence
from meltpoint.study.renamed_keys import with_new_keys
from meltpoint.study.score_names import check_measured, scores_of, split_name
from meltpoint.study.sections import (
    BuiltinCorpus,
    Chains,
    ComputeSection,
    DrawnCalibration,
    GivenCalibration,
    HubCorpus,
    LocalCorpus,
    Name,
    Section,
    Sweep,
    TokenCorpus,
)
from meltpoint.tables.keys import Table
from meltpoint.text import did_you_mean


def _by_key(*keys: str):
    """Discriminator of a union whose members each have one of these keys."""

    def tag(value: Any) -> str | None:
        have = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        return next((key for key in keys if key in have), None)

    expected = " or ".join(keys)
    return Discriminator(
        tag,
        custom_error_type="kind",
        custom_error_message=f"needs one of the keys {expected}",
    )


Model = Annotated[
    Annotated[TrainedModel, Tag("train")]
    | Annotated[HubModel, Tag("hub")]
    | Annotated[LocalModel, Tag("path")]
    | Annotated[GgufModel, Tag("gguf")]
    | Annotated[PackageModel, Tag("package")],
    _by_key("train", "hub", "path", "gguf", "package"),
]
Corpus = Annotated[
    Annotated[BuiltinCorpus, Tag("builtin")]
    | Annotated[HubCorpus, Tag("hub")]
    | Annotated[LocalCorpus, Tag("path")]
    | Annotated[TokenCorpus, Tag("tokens")],
    _by_key("builtin", "hub", "path", "tokens"),
]
Calibration = Annotated[
    Annotated[DrawnCalibration, Tag("corpus")] | Annotated[GivenCalibration, Tag("windows")],
    _by_key("corpus", "windows"),
]
# The settings of any kind in meltpoint/evaluations/; the key with the kind's name tells them apart.
KINDS = evaluations.registry()
Evaluation = Annotated[
    reduce(or_, (Annotated[kind.settings_class, Tag(name)] for name, kind in KINDS.items())),
    _by_key(*KINDS),
]


# Word for the source of a table or figure in error messages.
GROUP = "sweep or group of chains"
# Folders of results/ that all studies share.
TAKEN = {"models": "the base checkpoints", "published": "the published results"}


class StudyConfig(Section):
    """A study: models, texts, measurements, what to sweep, what to draw."""

    study: Name = Field(description="Name of the study, and of its folder below results/.")
    models: dict[Name, Model] = Field(
        min_length=1, description="Base checkpoints, by a name that you choose."
    )
    corpora: dict[Name, Corpus] = Field(
        default_factory=dict,
        description="Texts to measure and calibrate on, by a name that you choose.",
    )
    calibrations: dict[Name, Calibration] = Field(
        default_factory=dict,
        description="Tokens that a method may look at, by a name that you choose.",
    )
    evaluations: dict[Name, Evaluation] = Field(
        min_length=1, description="Measurements of each checkpoint, by a name that you choose."
    )
    sweeps: dict[Name, Sweep] = Field(
        default_factory=dict,
        description="Products of methods, levels and settings, by a name you choose.",
    )
    chains: dict[Name, Chains] = Field(
        default_factory=dict, description="Groups of chains, by a name that you choose."
    )
    tables: dict[Name, Table] = Field(
        default_factory=dict, description="Tables of scores, by a name that you choose."
    )
    figures: dict[Name, Figure] = Field(
        default_factory=dict, description="Figures of scores, by a name that you choose."
    )
    parameter_search: ParameterSearch | None = Field(
        None, description="Analysis of a sweep as of the published parameter search. Default: none."
    )
    compute: ComputeSection = Field(
        default_factory=ComputeSection, description="Device, dtype and threads of the jobs."
    )
    keep_checkpoints: Literal["all", "prefixes"] = Field(
        "all",
        description="Checkpoints to keep: `all`, or `prefixes`. With `prefixes` a checkpoint on which "
        "nothing builds is deleted once it is evaluated, and a new evaluation makes it again.",
    )

    @field_validator("study")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in TAKEN:
            raise ValueError(f"results/{name} holds {TAKEN[name]}: give the study another name")
        return name

    @model_validator(mode="after")
    def _references(self):
        names = {"corpus": self.corpora, "model": self.models}
        groups = {**self.sweeps, **self.chains}
        if both := sorted(set(self.sweeps) & set(self.chains)):
            raise ValueError(f"chains.{both[0]}: a sweep has the same name")
        for key, kind, name in self._named():
            if name not in (known := names.get(kind, groups)):
                raise ValueError(f"{key}: undefined {kind} {name!r}{did_you_mean(name, known)}")
        self._check_includes()
        self._check_scores()
        return self

    def _check_includes(self) -> None:
        """Raises ValueError if a group includes a group that has an `include` of its own."""
        for name, section in self.chains.items():
            for other in section.include:
                if other in self.chains and self.chains[other].include:
                    raise ValueError(
                        f"chains.{name}.include: {other} includes other groups itself: name those"
                    )

    def _check_scores(self) -> None:
        """Raises ValueError, naming the key, for a score that is undefined or not measured."""
        try:
            for name, settings in self.evaluations.items():
                scores_of(name, settings)
            measured = {
                name: {
                    at(key, split_name, each, self.evaluations)[0] for each in section.evaluations
                }
                for key, name, section in self._groups()
            }
            for key, group, name in self._drawn():
                check_measured(key, group, name, self.evaluations, measured[group])
        except MeltpointError as error:
            raise ValueError(str(error)) from None

    def _groups(self) -> Iterator[tuple[str, str, Sweep | Chains]]:
        """Every sweep and group of chains: (the key of its evaluations, its name, the section)."""
        for kind in ("sweeps", "chains"):
            for name, section in getattr(self, kind).items():
                yield f"{kind}.{name}.evaluations", name, section

    def _named(self):
        """Every place where the study names one of its own parts: (key, kind, name)."""
        for name, calibration in self.calibrations.items():
            if isinstance(calibration, DrawnCalibration):
                yield f"calibrations.{name}.corpus", "corpus", calibration.corpus
        for name, settings in self.evaluations.items():
            kind = evaluations.kind_of(settings)
            for corpus in kind.corpora(settings):
                key = next((key for key, value in settings if value == corpus), kind.name)
                yield f"evaluations.{name}.{key}", "corpus", corpus
        for kind in ("sweeps", "chains"):
            for name, section in getattr(self, kind).items():
                yield from ((f"{kind}.{name}.models", "model", m) for m in section.models)
        for name, section in self.chains.items():
            yield from ((f"chains.{name}.include", GROUP, other) for other in section.include)
        for kind in ("tables", "figures"):
            for name, part in getattr(self, kind).items():
                yield f"{kind}.{name}.source", GROUP, part.source
        if search := self.parameter_search:
            yield from (("parameter_search.source", GROUP, name) for name in search.sources)

    def _drawn(self) -> Iterator[tuple[str, str, str]]:
        """Every score that is shown or fitted: (key, the group, the score's name)."""
        for kind in ("tables", "figures"):
            for name, part in getattr(self, kind).items():
                for key, shown in part.shown:
                    yield f"{kind}.{name}.{key}", part.source, shown
        for name, sweep in self.sweeps.items():
            key = f"sweeps.{name}.transitions"
            yield from ((key, name, score) for score in sweep.transitions)
        if search := self.parameter_search:
            named = itertools.product(search.sources, search.shown)
            yield from ((f"parameter_search.{key}", source, x) for source, (key, x) in named)


def load(raw: dict, source: str) -> StudyConfig:
    """The study's config, from the content of a YAML file.

    source: the file's name, for error messages. Old spellings are accepted. Raises MeltpointError with
    one sentence that names the first wrong key.
    """
    study = {}
    try:
        study = with_new_keys(with_new_spellings(raw))
        return StudyConfig.model_validate(study)
    except ValidationError as error:
        raise MeltpointError(
            f"{source}: {sentence(error.errors()[0], study, StudyConfig)}"
        ) from None
    except MeltpointError as error:
        raise MeltpointError(f"{source}: {error}") from None
