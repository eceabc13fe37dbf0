"""Levels as readers know them: their order, their spelling and how many bits they stand for."""

import math
import re

PATTERN = re.compile(r"(\d+)of(\d+)")
BITS = re.compile(r"(\d+)bit")
# The first number of a scheme are the bits of its weights: q4_k_m, iq2_xs, w8a8, f16.
SCHEME = re.compile(r"[a-z]+(\d+)\w*")
# Schemes that quantise activations too are called by the bits of their weights.
ACTIVATIONS = re.compile(r"w\d+a\d+")


def level_key(level: str) -> tuple:
    """Sorts sparsities upwards, then patterns by group, bits downwards, other schemes by bits.

    Levels of a chain, joined by `+`, come behind, by the first and then the next.
    """
    if "+" in level:
        return (4, *(part for each in level.split("+") for part in level_key(each)))
    if pattern := PATTERN.fullmatch(level):
        return (1, int(pattern[2]), int(pattern[1]), "")
    if bits := BITS.fullmatch(level):
        return (2, -int(bits[1]), 0, "")
    try:
        return (0, float(level), 0, "")
    except ValueError:
        digit = re.search(r"\d+", level)
        return (3, -int(digit[0]) if digit else 0, 0, level)


def level_label(level: str) -> str:
    """2of4 as 2:4, 4bit as 4-bit, q4_k_m as Q4_K_M, no level as a dash, others as they are."""
    if "+" in level:
        return " + ".join(map(level_label, level.split("+")))
    if pattern := PATTERN.fullmatch(level):
        return f"{pattern[1]}:{pattern[2]}"
    if bits := BITS.fullmatch(level):
        return f"{bits[1]}-bit"
    return level.upper() if SCHEME.fullmatch(level) else level or "–"


def at_bits(level: str, method: str) -> str:
    """The level, or the bit width that it stands for: of w8a8, and of a method named after its bits."""
    bits = nominal_bits(level, method)
    stands = not math.isnan(bits) and (not level or ACTIVATIONS.fullmatch(level))
    return f"{bits:g}bit" if stands else level


def nominal_bits(level: str, method: str) -> float:
    """The bits of a weight that a level is named after; NaN where it is named after none.

    Without a level they are those that the method is named after: nf4, int8. Of a chain those of its
    last step.
    """
    level, method = level.rpartition("+")[2], method.rpartition("+")[2]
    found = BITS.fullmatch(level) or SCHEME.fullmatch(level)
    if not level:
        found = SCHEME.fullmatch(method)
    return float(found[1]) if found else float("nan")
