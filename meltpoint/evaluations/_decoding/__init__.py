"""The registry of decoding strategies: every file of this folder is one (leading underscores left out).

A study writes a strategy like a step of a chain: ``fsd_d,alpha=0.6,k=5,n=3`` is a name with settings.
The file of that name declares, at module level:

``Settings``
    a `StrategySettings`: its settings with their defaults
``write(batch, settings)``
    the texts that the strategy writes after a batch's prompts, `list[Text]`
``width(settings)``
    optional: number of rows that a text takes in the cache while it is written. Default: 1
``stochastic``
    optional: True for a strategy that draws tokens, so that seeds make a difference

The docstring of the file is its documentation. None of these files imports torch before `write`.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from pydantic import ValidationError

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._decoding._contract import StrategySettings
from meltpoint.text import did_you_mean
from meltpoint.validation import problem


@dataclass(frozen=True)
class Strategy:
    """A strategy with its settings; `spelled` is its text in the study."""

    spelled: str
    module: ModuleType
    settings: StrategySettings

    @property
    def stochastic(self) -> bool:
        """True if other seeds give other texts."""
        return getattr(self.module, "stochastic", False)

    @property
    def width(self) -> int:
        """Number of rows that a text takes in the cache while it is written."""
        return self.module.width(self.settings) if hasattr(self.module, "width") else 1

    @property
    def amateur(self) -> str | None:
        """The weaker model of a contrast, `model` or `model/chain` of the study; None for most."""
        return getattr(self.settings, "amateur", None)


@cache
def registry() -> dict[str, ModuleType]:
    """Modules of all strategies by name."""
    names = (info.name for info in pkgutil.iter_modules(__path__))
    return {
        name: importlib.import_module(f"{__name__}.{name}")
        for name in sorted(names)
        if not name.startswith("_")
    }


def parse(spelled: str) -> Strategy:
    """The strategy that a study's text names.

    Raises MeltpointError for an unknown strategy or setting, and for a wrong value.
    """
    name, *pairs = (part.strip() for part in spelled.split(","))
    if name not in registry():
        raise MeltpointError(
            f"{spelled!r}: there is no strategy {name!r}{did_you_mean(name, registry())}"
        )
    module = registry()[name]
    try:
        settings = module.Settings(**_values(spelled, pairs, module.Settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MeltpointError(
            f"{spelled!r}: {f'{where}: ' if where else ''}{problem(first)}"
        ) from error
    return Strategy(spelled, module, settings)


def _values(spelled: str, pairs: list[str], settings: type[StrategySettings]) -> dict[str, str]:
    """The texts of a strategy's settings by name.

    A part without a setting's name continues the value before it, if that value may hold commas.
    """
    values: dict[str, str] = {}
    last = ""
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if equals and key in settings.model_fields:
            if key in values:
                raise MeltpointError(f"{spelled!r} gives {key} twice")
            last, values[key] = key, value
        elif last in settings.with_commas:
            values[last] += f",{pair}"
        elif equals:
            hint = did_you_mean(key, settings.model_fields)
            raise MeltpointError(f"{spelled!r}: the strategy has no setting {key!r}{hint}")
        else:
            raise MeltpointError(f"{spelled!r}: {pair!r} is no setting: write key=value")
    return values
