"""The two ways in which a step can end without a result."""


class MeltpointError(Exception):
    """What went wrong, in one sentence that names the key or the file and the mend."""


class NotApplicable(Exception):
    """A step that this model, or this method, cannot do: a result with a reason, not a failure."""
