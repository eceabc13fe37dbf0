"""transformers without what it imports for others.

At import transformers asks for packages that no job here uses: hqq and torchao for a cache and a
format, scikit-learn for assisted generation, tensors spread over machines, torch's compiler with
sympy, and scipy.optimize for the losses of object detection. The first three are said to be missing
meanwhile. For the others stand-ins are given, which import the real thing when it is first used. And it
lists its models twice, from 1,500 files of code; the second time the first list is given.
"""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

UNUSED = ("is_hqq_available", "is_torchao_available", "is_sklearn_available")
# Imported by name only, and used by functions that no job here calls.
DEFERRED = (
    "torch.distributed.tensor",
    "torch.distributed.tensor._utils",
    "torch.distributed.tensor.placement_types",
    "torch._dynamo",
    "torch._dynamo._trace_wrapped_higher_order_op",
    "scipy.optimize",
)
# The modules of transformers that ask for them.
ASKING = (
    *("cache_utils", "quantizers.quantizer_torchao", "modeling_utils", "masking_utils"),
    "generation.candidate_generator",
)


def import_transformers() -> None:
    """Imports the modules that ask for what is not used; later calls change nothing."""
    with missing(), listed_once(), deferred(*DEFERRED):
        for name in ASKING:
            importlib.import_module(f"transformers.{name}")


@contextlib.contextmanager
def missing() -> Iterator[None]:
    """Has transformers take the unused packages for not installed."""
    from transformers import utils
    from transformers.utils import import_utils

    with contextlib.ExitStack() as stack:
        for module in (utils, import_utils):
            for name in UNUSED:
                stack.enter_context(patch.object(module, name, lambda *_: False))
        yield


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Has transformers take the list that it made of a folder for the list of its `__init__.py`.

    Its cache knows the folder under one name, and is too small for the folders in it.
    """
    from transformers.utils import import_utils

    listed = import_utils.create_import_structure_from_path

    def list_again(path: str | Path) -> dict:
        return listed(Path(path).parent if Path(path).name == "__init__.py" else path)

    with patch.object(import_utils, "create_import_structure_from_path", list_again):
        yield


@contextlib.contextmanager
def deferred(*modules: str) -> Iterator[None]:
    """Gives stand-ins for modules that are not imported yet, to `from ... import` statements."""
    stand_ins = {name: StandIn(name) for name in modules if name not in sys.modules}
    sys.modules.update(stand_ins)
    sys.meta_path.insert(0, SubmoduleFinder())
    try:
        yield
    finally:
        _remove_stand_ins()


def _remove_stand_ins() -> None:
    for name in [name for name, module in sys.modules.items() if isinstance(module, StandIn)]:
        del sys.modules[name]
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, SubmoduleFinder)]


class StandIn(ModuleType):
    """A module whose names stand for those of the real one, which is not imported."""

    # What makes it a package, whose submodules `SubmoduleFinder` finds.
    __path__ = ()

    def __getattr__(self, name: str) -> "Deferred":
        if name.startswith("__"):
            raise AttributeError(name)
        return Deferred(self.__name__, attrgetter(name))


class SubmoduleFinder(MetaPathFinder, Loader):
    """Finds stand-ins for the submodules of stand-ins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of a stand-in, where the package around a module is one."""
        parent = sys.modules.get(fullname.rpartition(".")[0])
        return ModuleSpec(fullname, self, is_package=True) if isinstance(parent, StandIn) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The stand-in."""
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: a stand-in has no code."""


class Deferred:
    """A name of a module, which is imported when the name is really used.

    While there are stand-ins a call is deferred too: a class body may make an instance. No object is
    an instance of a class whose module has never been imported.
    """

    def __init__(self, module: str, of: Callable[[ModuleType], object]) -> None:
        self._module, self._of = module, of

    def resolve(self) -> object:
        """The real object; imports its module."""
        _remove_stand_ins()
        return self._of(importlib.import_module(self._module))

    def __getattr__(self, name: str) -> "Deferred":
        if name.startswith("__"):
            raise AttributeError(name)
        return Deferred(self._module, lambda module: getattr(self._of(module), name))

    def __call__(self, *args, **kwargs) -> object:
        if isinstance(sys.modules.get(self._module), StandIn):
            return Deferred(self._module, lambda module: self._of(module)(*args, **kwargs))
        return self.resolve()(*args, **kwargs)

    def __mro_entries__(self, _) -> tuple[type, ...]:
        return (self.resolve(),)

    def __instancecheck__(self, instance: object) -> bool:
        if isinstance(sys.modules.get(self._module, self), StandIn | Deferred):
            return False
        real = instance.resolve() if type(instance) is Deferred else instance
        return isinstance(real, self.resolve())

    def __subclasscheck__(self, subclass: type) -> bool:
        return self._module in sys.modules and issubclass(subclass, self.resolve())

    def __or__(self, other: object) -> object:
        """A union in an annotation, which nothing reads."""
        return object

    __ror__ = __or__
