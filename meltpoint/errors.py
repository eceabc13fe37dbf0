"""The two ways in which a step can end without a result."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class MeltpointError(Exception):
    """An error, in one sentence that names the key or the file and says what to do."""


def at(key: str, function: Callable[..., T], *arguments: object) -> T:
    """Result of the function; a MeltpointError that it raises is raised with that key of the study."""
    try:
        return function(*arguments)
    except MeltpointError as error:
        raise MeltpointError(f"{key}: {error}") from None


class NotApplicable(Exception):
    """A step that this model, or this method, cannot do: a result with a reason, not a failure."""


def reason_of(error: Exception) -> str:
    """Text of a library's exception, on one line of at most 300 characters, with its kind."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else f"{text[:297]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
