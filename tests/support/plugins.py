"""Methods that exist for a test alone."""

import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from meltpoint import methods


def register_method(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> methods.Method:
    """The method of a module, in the registry until the test ends.

    It is named like the module, so it must not be called like one of the project's. Raises
    MeltpointError where the module does not keep the contract.
    """
    method = methods.load(module)
    assert method.name not in methods.registry(), f"{method.name} is a method of the project"
    monkeypatch.setitem(methods.registry(), method.name, method)
    return method


def method_module(name: str, source: str) -> ModuleType:
    """A module from source code, not to be found in `sys.modules`, for `register_method`."""
    module = ModuleType(name)
    module.__file__ = str(Path("tests", f"{name}.py"))
    exec(compile(textwrap.dedent(source), module.__file__, "exec"), vars(module))
    return module
