"""A card that is not there: tensors with a device, a shape and a dtype, and no values.

torch raises where an operation gets tensors of two devices, as a card would. Nothing is computed, so
what reads a value must be answered: checks that all is finite, or that shapes agree, are told yes.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from safetensors import safe_open
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from meltpoint.checkpoints import io

# A device of Python's making. PyTorch without CUDA has no guard for "cuda", so that an index into
# a tensor there would fail. It stays registered: only a process of its own may import this module.
DEVICE = "card:0"
_setup_privateuseone_for_python_backend("card")


class Yes(TorchDispatchMode):
    """Answers every truth value that is read with True; other values cannot be read."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """The result of an operation."""
        is_truth = function is torch.ops.aten._local_scalar_dense.default
        if is_truth and args[0].dtype == torch.bool:
            return True
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def fake_card() -> Iterator[None]:
    """All tensors that are made here are without values, those read from checkpoints too."""

    @contextlib.contextmanager
    def opened(path: Path, framework: str) -> Iterator[SimpleNamespace]:
        with _disable_current_modes(), safe_open(path, framework) as file:
            shapes = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        fakes = {key: mode.from_tensor(tensor) for key, tensor in shapes.items()}
        yield SimpleNamespace(get_tensor=fakes.__getitem__, keys=fakes.keys)

    mode = FakeTensorMode()
    with patch.object(io, "safe_open", opened), mode, Yes():
        yield
