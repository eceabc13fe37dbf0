"""Checks of a method's file against the contract."""

import difflib
import inspect
from types import FunctionType, ModuleType
from typing import Any

from pydantic import ValidationError

from meltpoint.errors import MeltpointError
from meltpoint.lazy_import import LazyModule
from meltpoint.methods.contract import FUNCTIONS, Facts
from meltpoint.methods.settings import MethodSettings
from meltpoint.text import did_you_mean
from meltpoint.validation import problem


def check(module: ModuleType, file: str) -> Facts:
    """Facts that a method's file declares.

    Raises MeltpointError, naming the file, for a declaration that is missing, unknown or of another
    type, and for a function that is missing or has other parameters.
    """
    _check_functions(module, file)
    settings = getattr(module, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, MethodSettings)):
        raise MeltpointError(f"{file}: a method declares 'Settings', a class of MethodSettings")
    facts = _facts(module, file)
    for name in (*facts.search_settings, *facts.full_range_settings, *facts.quick_settings):
        if name not in settings.model_fields:
            raise MeltpointError(
                f"{file}: there is no setting {name!r}{did_you_mean(name, settings.model_fields)}"
            )
    return facts


def _facts(module: ModuleType, file: str) -> Facts:
    try:
        return Facts(**_declarations(module))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(name, Facts.model_fields)
            raise MeltpointError(f"{file}: a method declares no {name!r}{hint}") from None
        if first["type"] == "missing":
            raise MeltpointError(f"{file}: a method declares {name!r}") from None
        reason = problem(first)
        raise MeltpointError(f"{file}: {name}: {reason}" if name else f"{file}: {reason}") from None


def _declarations(module: ModuleType) -> dict[str, Any]:
    """Declarations of a file: its lower-case names that are no functions, classes or modules."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.islower()
        and not name.startswith("_")
        and not callable(value)
        and not isinstance(value, ModuleType | LazyModule)
    }


def _check_functions(module: ModuleType, file: str) -> None:
    functions = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }
    if len(functions.keys() & {"compress_block", "compress"}) != 1:
        raise MeltpointError(f"{file}: a method has one function, compress_block or compress")
    for name, function in functions.items():
        if near := difflib.get_close_matches(name, FUNCTIONS.keys() - functions.keys(), 1, 0.9):
            raise MeltpointError(
                f"{file}: {name}: did you mean {near[0]}? Else rename the function"
            )
        parameters = list(inspect.signature(function).parameters)
        if name in FUNCTIONS and parameters != FUNCTIONS[name]:
            expected = ", ".join(FUNCTIONS[name])
            raise MeltpointError(
                f"{file}: {name} takes ({expected}), not ({', '.join(parameters)})"
            )
