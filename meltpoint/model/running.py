"""Runs a model's own code: turns its exceptions into sentences, and blocks into recorders."""

import contextlib
import functools
import inspect
import logging
import weakref
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from meltpoint.compute import is_out_of_memory
from meltpoint.errors import MeltpointError, NotApplicable, reason_of


class StopRunning(Exception):
    """Ends a run of a model of which only the beginning is needed."""


@contextlib.contextmanager
def running(model: nn.Module, folder: Path) -> Iterator[None]:
    """Context that turns exceptions in a model's code into MeltpointError, and logs the traceback.

    MeltpointError, NotApplicable, StopRunning and all errors for lack of memory pass unchanged, and so
    do KeyboardInterrupt and other exceptions that are not subclasses of Exception.
    """
    try:
        yield
    except (MeltpointError, NotApplicable, StopRunning, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        name = type(model).__name__
        logging.exception("%s: %s cannot be run", folder, name)
        raise MeltpointError(f"{folder}: {name} cannot be run: {reason_of(error)}") from None


def guard(model: PreTrainedModel, folder: Path) -> None:
    """Wraps a model's `forward` in `running`, which turns most exceptions into MeltpointError.

    The wrapper makes no reference cycle. The weights are therefore freed with the last reference to the
    model, not at the next run of the garbage collector, which a full GPU would not trigger.
    """
    forward = weakref.WeakMethod(model.forward)

    @functools.wraps(type(model).forward)
    def guarded(*args, **kwargs):
        method = forward()
        with running(method.__self__, folder):
            return method(*args, **kwargs)

    guarded.__signature__ = inspect.signature(model.forward)
    model.forward = guarded


@contextlib.contextmanager
def stopping_at(recorder: nn.Module) -> Iterator[None]:
    """Context of a run of a model that ends at this recorder."""

    def stop(*_) -> None:
        raise StopRunning

    handle = recorder.register_forward_hook(stop)
    try:
        with contextlib.suppress(StopRunning):
            yield
    finally:
        handle.remove()


def check_hidden(model: nn.Module, folder: Path, hidden: torch.Tensor, ids: torch.Tensor) -> None:
    """Raises MeltpointError unless the hidden states of texts are [texts, tokens, width]."""
    if hidden.shape[:-1] != ids.shape:
        texts, tokens = ids.shape
        raise MeltpointError(
            f"{folder}: the blocks of {type(model).__name__} take hidden states of shape "
            f"{list(hidden.shape)} for {texts} texts of {tokens} tokens; [texts, tokens, width] was "
            "expected: this architecture is not supported"
        )


class Recorder(nn.Module):
    """Replaces a block: notes the block's arguments and returns the hidden state unchanged.

    `rest` holds the block's other outputs, None if the block returns the hidden state alone. Any other
    attribute that the model reads (a layer's type, say) comes from the real block.
    """

    def __init__(self, block: nn.Module, rest: tuple | None) -> None:
        super().__init__()
        self.__dict__["block"] = block
        self.rest = rest
        self.hidden: torch.Tensor | None = None
        self.arguments: tuple[tuple, dict] | None = None

    def forward(self, *args: object, **kwargs: object) -> torch.Tensor | tuple:
        """The hidden state in the form that the block returns; keeps the other arguments."""
        if args:
            hidden, *others = args
        else:
            hidden, others = kwargs.pop("hidden_states"), ()
        self.hidden, self.arguments = hidden, (tuple(others), kwargs)
        return self.returned(hidden)

    def returned(self, hidden: torch.Tensor) -> torch.Tensor | tuple:
        """The hidden state in the form that the block returns: alone, or first of several."""
        return hidden if self.rest is None else (hidden, *self.rest)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["block"], name)


@contextlib.contextmanager
def recorders(blocks: nn.ModuleList) -> Iterator[list[Recorder]]:
    """Context in which recorders replace the blocks; yields the recorders.

    A run past the first recorder needs `ask` first, so that recorders return what the blocks would.
    """
    originals = list(blocks)
    rest = getattr(blocks, "rest", None)
    try:
        for i, block in enumerate(originals):
            blocks[i] = Recorder(block, rest)
        yield list(blocks)
    finally:
        for i, block in enumerate(originals):
            blocks[i] = block


def knows_returned(blocks: nn.ModuleList) -> bool:
    """True if it is known what the blocks return: `ask` was called, or they declare it."""
    stated = inspect.signature(type(blocks[0]).forward).return_annotation
    return hasattr(blocks, "rest") or stated in (torch.Tensor, "torch.Tensor")


@torch.no_grad()
def ask(blocks: nn.ModuleList, hidden: torch.Tensor, arguments: tuple[tuple, dict]) -> None:
    """Runs the first block, whose weights are loaded, and notes what the blocks return."""
    args, kwargs = arguments
    result = blocks[0](hidden, *args, **kwargs)
    blocks.rest = tuple(result[1:]) if isinstance(result, tuple | list) else None


def output_of(result: torch.Tensor | tuple | list) -> torch.Tensor:
    """The hidden state of a block's result: the result itself, or the first of several."""
    return result[0] if isinstance(result, tuple | list) else result
