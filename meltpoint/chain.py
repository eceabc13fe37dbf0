"""The grammar of levels, steps and chains.

A step is ``method@level,key=value,...``; a chain is steps joined by ``+``; the empty chain is
``dense``. What a method takes is the registry's matter (`meltpoint.methods`), not the grammar's.
"""

import math
import re
from dataclasses import dataclass, field
from typing import ClassVar

from meltpoint.errors import MeltpointError

DENSE = "dense"
NAME = r"[A-Za-z0-9_.-]+"


# The first number of a scheme's name is the bits of a weight: q4_k_m, iq2_xs, w8a8, f16, nf4.
_SCHEME = re.compile(r"[a-z]+(\d+)\w*")
_ACTIVATIONS = re.compile(r"w\d+a\d+")


@dataclass(frozen=True)
class Sparsity:
    """The fraction of the weights that is removed, between 0 and 1."""

    fraction: float
    word: ClassVar[str] = "sparsity"
    nominal_bits: ClassVar[float] = math.nan

    def __str__(self) -> str:
        return f"{self.fraction:g}"

    @property
    def label(self) -> str:
        """The level as readers know it."""
        return str(self)

    @property
    def sort_key(self) -> tuple:
        """Sparsities come first, the smallest first."""
        return (0, self.fraction, 0, "")


@dataclass(frozen=True)
class Pattern:
    """`kept` weights are kept of every `group` consecutive weights of a row (2:4, 4:8)."""

    kept: int
    group: int
    word: ClassVar[str] = "N:M"
    nominal_bits: ClassVar[float] = math.nan

    def __str__(self) -> str:
        return f"{self.kept}of{self.group}"

    @property
    def fraction(self) -> float:
        """The fraction of the weights that is removed."""
        return 1 - self.kept / self.group

    @property
    def label(self) -> str:
        """The pattern with its colon."""
        return f"{self.kept}:{self.group}"

    @property
    def sort_key(self) -> tuple:
        """Patterns come after sparsities, by their group."""
        return (1, self.group, self.kept, "")


@dataclass(frozen=True)
class Bits:
    """A bit width for the weights."""

    bits: int
    word: ClassVar[str] = "bits"

    def __str__(self) -> str:
        return f"{self.bits}bit"

    @property
    def nominal_bits(self) -> float:
        """The bit width as a float."""
        return float(self.bits)

    @property
    def label(self) -> str:
        """The width as in running text."""
        return f"{self.bits}-bit"

    @property
    def sort_key(self) -> tuple:
        """Bit widths come after patterns, the widest first."""
        return (2, -self.bits, 0, "")


@dataclass(frozen=True)
class Scheme:
    """A named format, such as GGUF's q4_k_m or w8a8."""

    name: str
    word: ClassVar[str] = "schemes"

    def __str__(self) -> str:
        return self.name

    @property
    def nominal_bits(self) -> float:
        """The bits of a weight that the name holds; NaN where it holds none."""
        match = _SCHEME.fullmatch(self.name)
        return float(match[1]) if match else math.nan

    @property
    def quantizes_activations(self) -> bool:
        """True for a name that holds the bits of activations too, as w8a8 does."""
        return _ACTIVATIONS.fullmatch(self.name) is not None

    @property
    def label(self) -> str:
        """The name in capitals, as GGUF's files are named."""
        return self.name if math.isnan(self.nominal_bits) else self.name.upper()

    @property
    def sort_key(self) -> tuple:
        """Schemes come last, by their bits downwards, then by name."""
        bits = self.nominal_bits
        return (3, 0.0 if math.isnan(bits) else -bits, 0, self.name)


Level = Sparsity | Pattern | Bits | Scheme
LEVEL_FORMS = {
    Sparsity: "a sparsity between 0 and 1 such as 0.5",
    Pattern: 'a pattern such as "2:4"',
    Bits: "a bit width such as 4bit",
    Scheme: "a named scheme such as q4_k_m",
}


@dataclass(frozen=True)
class Step:
    """One method at one level; `overrides` are settings as they are spelled, sorted by key."""

    method: str
    level: Level | None = None
    overrides: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self) -> str:
        level = "" if self.level is None else f"@{self.level}"
        return self.method + level + "".join(f",{key}={value}" for key, value in self.overrides)

    @property
    def settings(self) -> str:
        """The overrides alone, as they are spelled."""
        return ",".join(f"{key}={value}" for key, value in self.overrides)


def parse_level(value: object) -> Level:
    """A level from a study's YAML value.

    Raises MeltpointError for what is no level; a number that YAML has made of an unquoted ``2:4``
    is called by its name.
    """
    text = spell(value)
    if match := re.fullmatch(r"(\d+)(?:of|:)(\d+)", text):
        return _pattern(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"(\d+)bit", text):
        return _bits(int(match[1]))
    if re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?|nan|-?inf", text):
        return _sparsity(float(text), value)
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text):
        return Scheme(text.lower())
    if match := re.fullmatch(r"(\d*\.?\d+) *%", text):
        raise MeltpointError(f"{text!r} is no level: write {float(match[1]) / 100:g}")
    forms = ", ".join(LEVEL_FORMS.values())
    raise MeltpointError(f"{text!r} is no level: write {forms}")


def _pattern(kept: int, group: int) -> Pattern:
    if not 0 < kept < group:
        raise MeltpointError(f"{kept}:{group} is no pattern: N:M keeps N of every M, 0 < N < M")
    return Pattern(kept, group)


def _bits(bits: int) -> Bits:
    if not 1 <= bits <= 16:
        raise MeltpointError(f"{bits}bit is no bit width between 1 and 16")
    return Bits(bits)


def _sparsity(fraction: float, value: object) -> Sparsity:
    if 0 < fraction < 1:
        return Sparsity(fraction)
    percent = f"write {fraction / 100:g} for {fraction:g} %" if 5 <= fraction < 100 else ""
    if isinstance(value, int) and not isinstance(value, bool) and value > 60:
        n, m = divmod(value, 60)
        raise MeltpointError(
            f"{value} is no level: {percent + '; and ' if percent else ''}YAML reads an unquoted "
            f'{n}:{m} as the number {value}; write "{n}:{m}" in quotes'
        )
    hint = f": {percent}" if percent else ""
    raise MeltpointError(f"{value} is no sparsity: it must lie between 0 and 1{hint}")


def parse_step(text: str) -> Step:
    """A step from its spelling; raises MeltpointError where it does not parse."""
    head, *pairs = text.strip().split(",")
    match = re.fullmatch(r"([a-z][a-z0-9_]*)(?:@([^@]+))?", head.strip())
    if re.match(r"\s*\w+=", text):
        raise MeltpointError(
            f"{text!r} is no step: a list in [...] is split at each comma: quote the step that it "
            f'belongs to, such as "wanda@0.5,{text.strip()}"'
        )
    if not match:
        raise MeltpointError(
            f"{text!r} is no step: a step is method@level,key=value such as wanda@0.5,samples=64"
        )
    level = None if match[2] is None else parse_level(match[2])
    overrides = dict(_parse_override(pair, text) for pair in pairs)
    if len(overrides) < len(pairs):
        raise MeltpointError(f"{text!r} gives one setting twice")
    return Step(match[1], level, tuple(sorted(overrides.items())))


def _parse_override(pair: str, step: str) -> tuple[str, str]:
    match = re.fullmatch(rf"([A-Za-z_][A-Za-z0-9_]*)=({NAME})", pair.strip())
    if not match:
        raise MeltpointError(
            f"{pair!r} in {step!r} is no setting: write key=value with a value of letters, "
            "digits and _ . - alone"
        )
    return match[1], match[2]


def parse_chain(text: str) -> tuple[Step, ...]:
    """The steps of a chain, in order; ``dense`` is the empty chain."""
    if text.strip() == DENSE:
        return ()
    return tuple(parse_step(part) for part in text.split("+"))


def spell_chain(steps: tuple[Step, ...]) -> str:
    """Text of a chain: its steps joined by `+`, or `dense` for no steps."""
    return "+".join(map(str, steps)) or DENSE


def spell(value: object) -> str:
    """A setting's or level's value as it stands in a path: numbers by %g, booleans in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if abs(value) < 1e6 else str(value)
    return str(value).strip()


def methods_of(steps: tuple[Step, ...]) -> str:
    """The methods of a chain, as rows of tables and lines of figures are called."""
    return "+".join(step.method for step in steps)


def settings_of(steps: tuple[Step, ...]) -> str:
    """The settings of a chain's steps, as they are spelled."""
    return "+".join(filter(None, (step.settings for step in steps)))


def without(settings: str, key: str | None) -> str:
    """The settings string without the setting `key`."""
    steps = (step.split(",") for step in settings.split("+"))
    left = (",".join(part for part in step if not part.startswith(f"{key}=")) for step in steps)
    return "+".join(filter(None, left))


def row_name(method: str, settings: str) -> str:
    """Method and settings as a sweep spells them: what `labels` goes by."""
    return ",".join(filter(None, (method, settings)))
