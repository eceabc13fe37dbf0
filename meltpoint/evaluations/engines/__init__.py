"""The registry of engines: every file of this folder is one (leading underscores left out).

An engine runs a checkpoint. Its file declares, at module level:

``label``
    the program's name
``opens(checkpoint)``
    True if the engine can run the checkpoint in this folder
``kernels``
    the values of `open_engine`'s argument `kernels` for which the engine is chosen: False to decode
    packed weights, True to run the kernels of the library that packed them
``env``
    the environment in which the engine runs; methods name the one that evaluates their checkpoints
``streams``
    True if `compute.stream` applies to the engine
``sources``
    the modules that, with their imports, are the engine's code
``open(checkpoint, compute)``
    returns the engine

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
    """Modules of all engines by name."""
    names = (info.name for info in pkgutil.iter_modules(__path__))
    return {
        name: importlib.import_module(f"{__name__}.{name}")
        for name in sorted(names)
        if not name.startswith("_")
    }


def open_engine(checkpoint: Path, compute: Compute, kernels: bool = False) -> "Engine":
    """The engine that runs a checkpoint, a context manager that frees the model at its end.

    With `kernels` the library that packed a checkpoint runs it; without, its weights are decoded.
    Raises MeltpointError for a checkpoint that is broken or that no engine opens.
    """
    engines = [e for e in registry().values() if kernels in e.kernels and e.opens(checkpoint)]
    if len(engines) != 1:
        raise MeltpointError(f"{checkpoint}: {len(engines)} engines open this checkpoint, not one")
    return engines[0].open(checkpoint, compute)


def planned(env: str, kernels: bool = False) -> ModuleType:
    """Module of the engine that runs checkpoints in the environment `env`.

    It is known before the checkpoint exists, as methods declare the environment of evaluations. Raises
    MeltpointError unless there is exactly one.
    """
    engines = [e for e in registry().values() if kernels in e.kernels and e.env == env]
    if len(engines) != 1:
        raise MeltpointError(f"{len(engines)} engines run in the environment {env!r}, not one")
    return engines[0]
