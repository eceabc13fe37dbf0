"""A model's own code, run: exceptions in it become sentences, and recorders stand in for its blocks."""

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
    """Turns an exception out of a model's own code into a MeltpointError; the traceback is logged."""
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
    """Lets a model's `forward` end in a MeltpointError where its own code raises anything.

    The model does not hold itself by it: its weights go when the last who uses it lets go of it, and
    not when Python next looks for cycles, which a GPU's memory does not make it do.
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
    """Around a run of a model that ends behind this recorder."""

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
    """Stands in a block's place: notes the arguments and hands the hidden state on.

    `rest` is what the block returns beside the hidden state, None where it returns that alone. Whatever
    else the model asks of its block (a layer's type, say) is the real block's.
    """

    def __init__(self, block: nn.Module, rest: tuple | None) -> None:
        super().__init__()
        self.__dict__["block"] = block
        self.rest = rest
        self.hidden: torch.Tensor | None = None
        self.arguments: tuple[tuple, dict] | None = None

    def forward(self, *args: object, **kwargs: object) -> torch.Tensor | tuple:
        """The hidden state, as the block would return it; keeps the other arguments."""
        if args:
            hidden, *others = args
        else:
            hidden, others = kwargs.pop("hidden_states"), ()
        self.hidden, self.arguments = hidden, (tuple(others), kwargs)
        return self.returned(hidden)

    def returned(self, hidden: torch.Tensor) -> torch.Tensor | tuple:
        """Value that the block would return with this hidden state."""
        return hidden if self.rest is None else (hidden, *self.rest)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["block"], name)


@contextlib.contextmanager
def recorders(blocks: nn.ModuleList) -> Iterator[list[Recorder]]:
    """Replaces the blocks by recorders for a while.

    The blocks must have been asked what they return (`ask`), if all of them are to be passed.
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
    """True for blocks that were asked what they return, or say that it is the hidden state alone."""
    stated = inspect.signature(type(blocks[0]).forward).return_annotation
    return hasattr(blocks, "rest") or stated in (torch.Tensor, "torch.Tensor")


@torch.no_grad()
def ask(blocks: nn.ModuleList, hidden: torch.Tensor, arguments: tuple[tuple, dict]) -> None:
    """Runs the first block, whose weights are loaded, and notes what the blocks return."""
    args, kwargs = arguments
    result = blocks[0](hidden, *args, **kwargs)
    blocks.rest = tuple(result[1:]) if isinstance(result, tuple | list) else None


def output_of(result: torch.Tensor | tuple | list) -> torch.Tensor:
    """A block's hidden state, whether it returns it alone or first of several."""
    return result[0] if isinstance(result, tuple | list) else result
