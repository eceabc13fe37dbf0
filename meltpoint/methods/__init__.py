"""The registry: every file of this folder is a method.

A method's file declares, at module level:

``kind``
    ``unstructured``, ``structured``, ``low-rank``, ``quantization`` or ``finetuning``
``levels``
    the kinds of level it takes, from `meltpoint.chain`; empty for a method without levels
``bits``, ``schemes``
    for a method that takes bit widths, or named schemes: which
``env``
    the environment it runs in, a file of ``envs/`` without its ending
``Settings``
    its settings as a pydantic model, with the official code's defaults
``compress_block(block, statistics, level, settings)``
    for a method that works block by block (see `meltpoint.compression.blockwise`), with
    ``statistics``, the accumulators of `meltpoint.model.activation_statistics` that it needs, or a
    function of the settings that says which; and optionally ``needs_dense_outputs(settings)``, where
    it compares a block with what the whole dense model gives there. One that quantises returns how
    each linear can be stored, by name (`meltpoint.checkpoints.linears.Quantized`)
``compress(source, target, level, settings, context)``
    for any other: from a plain checkpoint's folder into an empty one, which it leaves as the users of
    its library expect it. What it has made of each linear is read from there
    (`meltpoint.checkpoints.formats`), unless it returns that itself
``libraries``
    optional: the packages that it needs besides torch and transformers, as `env` pins them
``runtime``
    optional: the environment that its checkpoints are evaluated in, `torch` if it is not said
``calibrated(level, settings)``
    optional, where whether it looks at text depends on the level too

The docstring of the file gives the formula and the paper; its first line is the row of the docs.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from pydantic import ValidationError

from meltpoint.chain import LEVEL_FORMS, Bits, Level, Scheme, Step, spell
from meltpoint.errors import MeltpointError
from meltpoint.methods.settings import MethodSettings
from meltpoint.text import did_you_mean, first_sentence, one_of

KINDS = ("unstructured", "structured", "low-rank", "quantization", "finetuning")


@dataclass(frozen=True)
class Method:
    """A method's file, as the rest of the library sees it."""

    name: str
    module: ModuleType

    @property
    def kind(self) -> str:
        return self.module.kind

    @property
    def levels(self) -> tuple[type, ...]:
        return self.module.levels

    @property
    def bits(self) -> tuple[int, ...]:
        """The bit widths that it takes."""
        return tuple(getattr(self.module, "bits", ()))

    @property
    def schemes(self) -> tuple[str, ...]:
        """The named schemes that it takes."""
        return tuple(getattr(self.module, "schemes", ()))

    @property
    def widths(self) -> str:
        """The bit widths, in words."""
        return one_of(map(str, self.bits))

    @property
    def env(self) -> str:
        return self.module.env

    @property
    def libraries(self) -> tuple[str, ...]:
        return tuple(getattr(self.module, "libraries", ()))

    @property
    def runtime(self) -> str:
        """The environment in which its checkpoints are evaluated."""
        return getattr(self.module, "runtime", "torch")

    def calibrated(self, step: Step) -> bool:
        """Whether the step looks at text."""
        settings = self.settings(step)
        declared = getattr(self.module, "calibrated", None)
        if declared is None or type(step.level) not in self.levels:
            return settings.calibrated and declared is None
        return declared(step.level, settings)

    @property
    def settings_class(self) -> type[MethodSettings]:
        return self.module.Settings

    def statistics(self, settings: MethodSettings) -> tuple[str, ...]:
        """The accumulators that it needs with these settings."""
        declared = getattr(self.module, "statistics", ())
        return declared(settings) if callable(declared) else declared

    def needs_dense_outputs(self, settings: MethodSettings) -> bool:
        declared = getattr(self.module, "needs_dense_outputs", None)
        return declared is not None and declared(settings)

    @property
    def walks(self) -> bool:
        return hasattr(self.module, "compress_block")

    @property
    def summary(self) -> str:
        return first_sentence(self.module.__doc__)

    @property
    def sources(self) -> tuple[str, ...]:
        """The modules that, with their imports, compute a checkpoint of this method."""
        return (self.module.__name__, "meltpoint.compression.step")

    def settings(self, step: Step) -> MethodSettings:
        """The step's settings: its overrides over the defaults.

        Raises MeltpointError for a setting that the method does not have, or a value that it
        does not take.
        """
        known = self.settings_class.model_fields
        for key, _ in step.overrides:
            if key not in known:
                raise MeltpointError(
                    f"unknown setting {key!r} of {self.name}{did_you_mean(key, known)}"
                )
        try:
            return self.settings_class(**dict(step.overrides))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "settings"
            raise MeltpointError(f"{self.name}: setting {key}: {first['msg']}") from None

    def canonical(self, step: Step) -> Step:
        """The step in its one spelling: keys sorted, numbers by %g.

        Left out is what is as by default, and what has no effect beside the other settings.
        """
        settings, default = self.settings(step), self.settings_class()
        idle = settings.idle()
        overrides = tuple(
            (key, spell(getattr(settings, key)))
            for key, _ in step.overrides
            if getattr(settings, key) != getattr(default, key) and key not in idle
        )
        return Step(self.name, step.level, overrides)

    def check_level(self, level: Level | None) -> None:
        """Raises MeltpointError for a level that no method of this kind takes."""
        alike = [method for method in registry().values() if method.kind == self.kind]
        taken = {form for method in alike for form in method.levels}
        if level is None and self.levels:
            raise MeltpointError(f"{self.name} needs a level: {_forms(self.levels)}")
        if level is not None and not self.levels:
            raise MeltpointError(f"{self.name} takes no level, so not @{level}")
        if level is not None and type(level) not in taken:
            raise MeltpointError(
                f"{self.name}@{level}: no {self.kind} method takes this level; "
                f"{self.name} takes {_forms(self.levels)}"
            )
        if isinstance(level, Bits) and not any(level.bits in method.bits for method in alike):
            raise MeltpointError(
                f"{self.name}@{level}: no {self.kind} method takes {level.bits} bits; {self.name} "
                f"takes {self.widths}"
            )
        if isinstance(level, Scheme) and not any(level.name in m.schemes for m in alike):
            known = self.schemes or [name for method in alike for name in method.schemes]
            raise MeltpointError(
                f"{self.name}@{level}: no {self.kind} method takes this scheme"
                f"{did_you_mean(level.name, known)}"
            )


def _forms(levels: tuple[type, ...]) -> str:
    return " or ".join(LEVEL_FORMS[form] for form in levels)


_registry: dict[str, Method] = {}


def registry() -> dict[str, Method]:
    """All methods by name, found as the files of this folder (leading underscores left out)."""
    if not _registry:
        names = (info.name for info in pkgutil.iter_modules(__path__))
        for name in sorted(n for n in names if n != "settings" and not n.startswith("_")):
            _registry[name] = _load(name)
    return _registry


def _load(name: str) -> Method:
    method = Method(name, importlib.import_module(f"{__name__}.{name}"))
    for attribute in ("kind", "levels", "env", "Settings"):
        if not hasattr(method.module, attribute):
            raise MeltpointError(f"methods/{name}.py: a method declares {attribute!r}")
    if Bits in method.levels and not method.bits:
        raise MeltpointError(f"methods/{name}.py: a method that takes bit widths declares 'bits'")
    if Scheme in method.levels and not method.schemes:
        raise MeltpointError(f"methods/{name}.py: a method that takes schemes declares 'schemes'")
    if method.kind not in KINDS:
        raise MeltpointError(f"methods/{name}.py: kind is one of {', '.join(KINDS)}")
    if not (method.walks or hasattr(method.module, "compress")):
        raise MeltpointError(f"methods/{name}.py: write compress_block, or compress")
    return method


def find(name: str) -> Method:
    """The method of that name; raises MeltpointError, naming the nearest, if there is none."""
    methods = registry()
    if name not in methods:
        raise MeltpointError(f"unknown method {name!r}{did_you_mean(name, methods)}")
    return methods[name]
