"""The registry of engines: every file of this folder is one (leading underscores left out).

An engine runs a checkpoint. Its file declares, at module level:

``label``
    the program's name
``opens(checkpoint)``
    whether it runs what this folder holds
``kernels``
    for which wishes it is taken: False, weights decoded into plain ones; True, the kernels of the
    library that packed the weights; or both
``env``
    the environment in which it runs, as methods name that in which their checkpoints are evaluated
``streams``
    whether `compute.stream` applies to it
``sources``
    the modules that, with their imports, are its code
``open(checkpoint, compute)``
    makes the engine

None of these files imports torch before `open` is called.
"""

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine


@cache
def registry() -> dict[str, ModuleType]:
    """All engines' files by name."""
    names = (info.name for info in pkgutil.iter_modules(__path__))
    return {
        name: importlib.import_module(f"{__name__}.{name}")
        for name in sorted(names)
        if not name.startswith("_")
    }


def open_engine(checkpoint: Path, compute: Compute, kernels: bool = False) -> "Engine":
    """The engine that runs a checkpoint, a context manager that lets go of the model at its end.

    With `kernels` a packed checkpoint is run by the library that packed it; without, its weights are
    decoded. Raises MeltpointError for a checkpoint that is broken, or that no engine opens.
    """
    engines = [e for e in registry().values() if kernels in e.kernels and e.opens(checkpoint)]
    if len(engines) != 1:
        raise MeltpointError(f"{checkpoint}: {len(engines)} engines open this checkpoint, not one")
    return engines[0].open(checkpoint, compute)


def planned(env: str, kernels: bool = False) -> ModuleType:
    """The file of the engine that will run a checkpoint which is evaluated in an environment.

    It is known before the checkpoint is there: a method declares that environment.
    """
    engines = [e for e in registry().values() if kernels in e.kernels and e.env == env]
    if len(engines) != 1:
        raise MeltpointError(f"{len(engines)} engines run in the environment {env!r}, not one")
    return engines[0]
