"""The levels of a tidy frame: texts as `meltpoint.chain` spells them, joined by `+` for a chain.

What a level's label, order and bits are is known to the level objects of `meltpoint.chain`.
"""

import math

from meltpoint.chain import Level, Pattern, Scheme, Sparsity, parse_level


def levels_of(text: str) -> list[Level]:
    """Levels of a chain's steps; none for a chain whose methods have no level.

    "0" is the dense end of a published curve. Raises MeltpointError for a text that is no level.
    """
    return [Sparsity(0.0) if part == "0" else parse_level(part) for part in text.split("+") if part]


def level_key(text: str) -> tuple:
    """Sort key of a level: sparsities, patterns, bit widths, schemes, then chains of several."""
    keys = [level.sort_key for level in levels_of(text)]
    if len(keys) < 2:
        return keys[0] if keys else (3, 0.0, 0, "")
    return (4, *(part for key in keys for part in key))


def level_label(text: str) -> str:
    """Label of a level for readers (2:4, 4-bit, Q4_K_M); a dash where there is no level."""
    return " + ".join(level.label for level in levels_of(text)) or "–"


def nominal_bits(text: str, method: str) -> float:
    """Bits per weight that a level is named after; NaN where its name holds none.

    A method without a level may be named after its bits (nf4, int8). The last step of a chain counts.
    """
    last = text.rpartition("+")[2]
    level = levels_of(last)[0] if last else Scheme(method.rpartition("+")[2])
    return level.nominal_bits


def at_bits(text: str, method: str) -> str:
    """The bit width that a level stands for (w8a8, or a method named after its bits), or the level."""
    bits = nominal_bits(text, method)
    levels = levels_of(text)
    by_activations = len(levels) == 1 and getattr(levels[0], "quantizes_activations", False)
    return f"{bits:g}bit" if not math.isnan(bits) and (not text or by_activations) else text


def family_of(kind: str, level: str) -> str:
    """Family of a step: its kind, or its pattern."""
    levels = levels_of(level)
    return levels[0].label if levels and isinstance(levels[0], Pattern) else kind
