"""The registry: every file of this folder is a method.

`meltpoint.methods.contract` lists the declarations of a method's file. The docstring of the file gives
the formula and the paper; its first sentence is a row in the docs. Files whose names begin with an
underscore hold code that methods share.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from pydantic import ValidationError

from meltpoint.chain import Level, Step, spell
from meltpoint.errors import MeltpointError
from meltpoint.methods import _contract_checks, _level_checks
from meltpoint.methods.contract import Facts, Resources
from meltpoint.methods.settings import CalibratedSettings, MethodSettings
from meltpoint.text import did_you_mean, first_sentence, one_of
from meltpoint.validation import problem

NOT_METHODS = ("contract", "settings")

# The name is put together: a full name in the code would count as an import, in the import closure of
# every module that imports this registry.
COMPRESSION = f"{__name__.partition('.')[0]}.compression"


@dataclass(frozen=True)
class Method:
    """A method, as the rest of the library uses its file; `facts` are the file's declarations."""

    name: str
    module: ModuleType
    facts: Facts

    @property
    def kind(self) -> str:
        """Kind of change that it may make (`meltpoint.methods.contract.Kind`)."""
        return self.facts.kind

    @property
    def levels(self) -> tuple[type, ...]:
        """Classes of the levels that it takes; none for a method without levels."""
        return self.facts.levels

    @property
    def bits(self) -> tuple[int, ...]:
        """Bit widths that it takes."""
        return self.facts.bits

    @property
    def schemes(self) -> tuple[str, ...]:
        """Named schemes that it takes."""
        return self.facts.schemes

    @property
    def widths(self) -> str:
        """Bit widths that it takes, as a list in words."""
        return one_of(map(str, self.bits))

    @property
    def env(self) -> str:
        """Name of the environment of its jobs."""
        return self.facts.env

    @property
    def evaluation_env(self) -> str:
        """Name of the environment in which its checkpoints are evaluated."""
        return self.facts.evaluation_env

    @property
    def libraries(self) -> tuple[str, ...]:
        """Packages that it needs besides torch and transformers."""
        return self.facts.libraries

    @property
    def resources(self) -> Resources:
        """Resources that a job of this method needs."""
        return self.facts.resources

    @property
    def settings_class(self) -> type[MethodSettings]:
        """Class of its settings."""
        return self.module.Settings

    @property
    def is_blockwise(self) -> bool:
        """True for a method that works block by block on the shared walk."""
        return hasattr(self.module, "compress_block")

    @property
    def has_search(self) -> bool:
        """True for a method with a part that does not depend on the level, kept as its own result."""
        return hasattr(self.module, "search")

    @property
    def needs_gradients(self) -> bool:
        """True for a method that uses gradients of the loss, at least with some settings."""
        return self.facts.needs_gradients or hasattr(self.module, "gradients")

    @property
    def summary(self) -> str:
        """First sentence of its docstring: its row in the docs."""
        return first_sentence(self.module.__doc__)

    @property
    def sources(self) -> tuple[str, ...]:
        """Modules that, with their imports, compute a checkpoint of this method."""
        return (self.module.__name__, f"{COMPRESSION}.step")

    @property
    def search_sources(self) -> tuple[str, ...]:
        """Modules that, with their imports, compute a result of this method's search."""
        return (self.module.__name__, f"{COMPRESSION}.search")

    def statistics(self, settings: MethodSettings) -> tuple[str, ...]:
        """Names of the accumulators that it needs with these settings."""
        return self._named("statistics", settings)

    def gradients(self, settings: MethodSettings) -> tuple[str, ...]:
        """Names of the gradient accumulators that it needs with these settings."""
        return self._named("gradients", settings)

    def _named(self, declaration: str, settings: MethodSettings) -> tuple[str, ...]:
        function = self._function(declaration)
        return getattr(self.facts, declaration) if function is None else function(settings)

    def needs_dense_outputs(self, settings: MethodSettings) -> bool:
        """True if it needs `block.dense_outputs` with these settings."""
        function = self._function("needs_dense_outputs")
        return function is not None and function(settings)

    def compressed_windows(self, settings: MethodSettings) -> int:
        """Number of windows to take through the compressed blocks besides the dense model's pass."""
        function = self._function("compressed_windows")
        return 0 if function is None else function(settings)

    def calibrated(self, step: Step) -> bool:
        """True if a step reads calibration windows."""
        settings = self.settings(step)
        function = self._function("calibrated")
        if function is None or type(step.level) not in self.levels:
            return settings.calibrated and function is None
        return function(step.level, settings)

    def rounds(self, settings: MethodSettings) -> int:
        """Number of rounds of search and walk with these settings; 1 for most methods."""
        function = self._function("rounds")
        return 1 if function is None else function(settings)

    def search_windows(
        self, settings: MethodSettings, blocks: int, windows: int
    ) -> tuple[int, int]:
        """Numbers of windows that its search sends through one block, and through the head."""
        function = self._function("search_windows")
        return (0, 0) if function is None else function(settings, blocks, windows)

    def _function(self, name: str) -> Callable | None:
        value = getattr(self.module, name, None)
        return value if callable(value) else None

    def settings(self, step: Step) -> MethodSettings:
        """Settings of a step: its overrides over the defaults.

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
            raise MeltpointError(f"{self.name}: setting {key}: {problem(first)}") from None

    def canonical(self, step: Step) -> Step:
        """The step in its one spelling: keys sorted, numbers by %g.

        Settings at their default, and settings without effect beside the others, are left out.
        """
        settings = self.settings(step)
        default, unused = settings.defaults(), settings.unused_settings()
        overrides = tuple(
            (key, spell(getattr(settings, key)))
            for key, _ in step.overrides
            if getattr(settings, key) != default[key] and key not in unused
        )
        return Step(self.name, step.level, overrides)

    def search_step(self, step: Step) -> Step:
        """The method without a level and with those settings of the step that its search reads."""
        keys = {*self.facts.search_settings, *CalibratedSettings.model_fields}
        overrides = self.canonical(step).overrides
        return Step(self.name, None, tuple((k, v) for k, v in overrides if k in keys))

    def earlier_search(self, step: Step) -> Step | None:
        """The search that must run before a step's own, in the form of `search_step`, or None."""
        function = self._function("earlier_search")
        changes = None if function is None else function(self.settings(step))
        if changes is None:
            return None
        overrides = tuple(sorted({**dict(step.overrides), **changes}.items()))
        return self.search_step(Step(self.name, step.level, overrides))

    def check_level(self, level: Level | None) -> None:
        """Raises MeltpointError for a level that the method does not take.

        The message names methods of the same kind that do.
        """
        alike = [method for method in registry().values() if method.kind == self.kind]
        _level_checks.check_level(self, level, alike)


_registry: dict[str, Method] = {}


def registry() -> dict[str, Method]:
    """All methods by name, found as the files of this folder."""
    if not _registry:
        names = (info.name for info in pkgutil.iter_modules(__path__))
        for name in sorted(n for n in names if n not in NOT_METHODS and not n.startswith("_")):
            _registry[name] = load(importlib.import_module(f"{__name__}.{name}"))
    return _registry


def load(module: ModuleType) -> Method:
    """The method of a module, named like its file.

    Raises MeltpointError, naming the file, if the file breaks the contract.
    """
    name = module.__name__.rpartition(".")[2]
    return Method(name, module, _contract_checks.check(module, f"methods/{name}.py"))


def find(name: str) -> Method:
    """The method of that name; raises MeltpointError, naming the nearest, if there is none."""
    methods = registry()
    if name not in methods:
        raise MeltpointError(f"unknown method {name!r}{did_you_mean(name, methods)}")
    return methods[name]
