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
