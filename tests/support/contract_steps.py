"""Registered methods by what they declare, and the families that contracts are tried on."""

from meltpoint import methods

FAMILIES = ("llama", "mistral", "qwen2", "opt")
METHODS = methods.registry()


def first(kind, *conditions):
    """The first method of a kind for which the conditions hold."""
    of_kind = (m for m in METHODS.values() if m.kind == kind)
    return next(m.name for m in of_kind if all(condition(m) for condition in conditions))


def calibrated(method):
    return method.settings_class().calibrated


MAGNITUDE = first("unstructured", lambda m: not calibrated(m))
ROUNDING = first("quantization", lambda m: m.is_blockwise)
# Far from the base's weights, so that a step on top can be seen to have read these.
PACKED = first("quantization", lambda m: not m.is_blockwise, lambda m: not m.levels)
