"""A card that computes on the CPU: its tensors have values, and may not meet the CPU's.

Torch is told of a device of Python's making. A tensor on it wraps one of the CPU, on which everything
is computed. As on a real card, an operation raises where it gets tensors of both devices, but for
numbers without axes and for indices on the CPU; a tensor must be copied back before NumPy reads it;
and random numbers need a generator of the card's own.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

# It stays registered: only a process of its own may import this module.
NAME = "card"
DEVICE = f"{NAME}:0"


class Module(_DummyBackendModule):
    """Module of a device, with the functions that torch calls on it."""

    def get_rng_state(self, device: object = None) -> torch.Tensor:
        """No generator: an empty state."""
        return torch.empty(0)

    def set_rng_state(self, state: torch.Tensor, device: object = None) -> None:
        """Does nothing."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Dtypes of autocast."""
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend(NAME, Module())

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._unsafe_index.Tensor,
    aten._index_put_impl_.default,
}


class CardTensor(torch.Tensor):
    """A tensor on the card; `held` is the CPU's that has its values."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "CardTensor":
        """Wraps a tensor of the CPU."""
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(DEVICE),
            requires_grad=False,
        )

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    def tolist(self) -> list:
        """Numbers, as a real card's are copied."""
        return self.held.tolist()

    def __repr__(self) -> str:
        return f"CardTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        """The result of an operation without the mode: that of one with it."""
        with Card():
            return function(*args, **(kwargs or {}))


class Card(TorchDispatchMode):
    """Computes what is asked of the card."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """The result of an operation."""
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        here = [x for x in tensors if isinstance(x, CardTensor)]
        device = kwargs.get("device")
        asked = device is not None and torch.device(device).type == NAME
        if not here and not asked:
            return function(*args, **kwargs)
        if function not in COPIES:
            check(function, args, kwargs, tensors)
        elsewhere = device is not None and not asked
        if asked:
            kwargs["device"] = torch.device("cpu")
        held, held_kwargs = tree_map(unwrap, args), tree_map(unwrap, kwargs)
        result = function(*held, **held_kwargs)
        to_cpu = elsewhere or (
            function is aten.copy_.default and not isinstance(args[0], CardTensor)
        )
        if to_cpu:
            return args[0] if function is aten.copy_.default else result
        if function is aten._to_copy.default and result is held[0]:
            result = result.clone()
        wrapped = tree_map(lambda x: CardTensor(x) if type(x) is torch.Tensor else x, result)
        if function is aten.detach.default:
            return wrapped
        return return_and_correct_aliasing(function, args, kwargs, wrapped) if here else wrapped


def unwrap(value: object) -> object:
    """The tensor that a card's tensor holds; anything else as it is."""
    return value.held if isinstance(value, CardTensor) else value


def check(function, args, kwargs, tensors) -> None:
    """Raises RuntimeError where an operation gets what a card would not take."""
    generator = kwargs.get("generator") or next(
        (x for x in args if isinstance(x, torch.Generator)), None
    )
    if generator is not None:
        raise RuntimeError(
            f"Expected a 'cuda' device type for generator but found '{generator.device}'"
        )
    others = [x for x in tensors if not isinstance(x, CardTensor) and x.dim()]
    if function in INDEXED and isinstance(args[0], CardTensor):
        indices = [id(x) for x in args[1] if x is not None]
        others = [x for x in others if id(x) not in indices]
    if others:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{DEVICE} and cpu! ({function})"
        )


# torch makes room for the numbers of a list itself, past any mode.
library = torch.library.Library("aten", "IMPL")


def empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    """Room on the card."""
    return CardTensor(torch.empty_strided(size, stride, dtype=dtype))


def copied(tensor, target, non_blocking=False):
    """The numbers of a tensor of either device in another of either."""
    unwrap(target).copy_(unwrap(tensor))
    return target


library.impl("empty_strided", empty_strided, "PrivateUse1")
library.impl("_copy_from", copied, "PrivateUse1")


@contextlib.contextmanager
def card() -> Iterator[None]:
    """Makes the card available for a while."""
    with Card():
        yield
