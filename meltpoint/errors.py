"""The two ways in which a step can end without a result."""


class MeltpointError(Exception):
    """What went wrong, in one sentence that names the key or the file and the mend."""


def at(key: str, function, *arguments):
    """The function's result; what it finds wrong is said of that key of the study."""
    try:
        return function(*arguments)
    except MeltpointError as error:
        raise MeltpointError(f"{key}: {error}") from None


class NotApplicable(Exception):
    """A step that this model, or this method, cannot do: a result with a reason, not a failure."""


def reason_of(error: Exception) -> str:
    """What an exception of a library says, on one line of at most 300 characters, with its kind."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else f"{text[:297]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
