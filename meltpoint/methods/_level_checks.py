"""Checks of a step's level when a study is read: a level must suit some method of the kind.

A level that only other methods of the kind take is no error: a sweep over methods and levels then has a
cell that is not applicable.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meltpoint.chain import LEVEL_FORMS, Bits, Level, Scheme
from meltpoint.errors import MeltpointError
from meltpoint.text import did_you_mean

if TYPE_CHECKING:
    from meltpoint.methods import Method


def check_level(method: "Method", level: Level | None, alike: "Sequence[Method]") -> None:
    """Raises MeltpointError for a missing level, and for one that no method of the kind takes.

    alike: all methods of the method's kind.
    """
    if level is None and method.levels:
        raise MeltpointError(f"{method.name} needs a level: {_forms(method)}")
    if level is not None and not method.levels:
        raise MeltpointError(f"{method.name} takes no level, so not @{level}")
    if level is not None and not any(type(level) in other.levels for other in alike):
        raise MeltpointError(
            f"{method.name}@{level}: no {method.kind} method takes this level; "
            f"{method.name} takes {_forms(method)}"
        )
    if isinstance(level, Bits) and not any(level.bits in other.bits for other in alike):
        raise MeltpointError(
            f"{method.name}@{level}: no {method.kind} method takes {level.bits} bits; "
            f"{method.name} takes {method.widths}"
        )
    if isinstance(level, Scheme) and not any(level.name in other.schemes for other in alike):
        known = method.schemes or [name for other in alike for name in other.schemes]
        raise MeltpointError(
            f"{method.name}@{level}: no {method.kind} method takes this scheme"
            f"{did_you_mean(level.name, known)}"
        )


def _forms(method: "Method") -> str:
    return " or ".join(LEVEL_FORMS[form] for form in method.levels)
