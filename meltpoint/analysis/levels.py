"""Levels as readers know them: their order and their spelling."""

import re

PATTERN = re.compile(r"(\d+)of(\d+)")
BITS = re.compile(r"(\d+)bit")


def level_key(level: str) -> tuple:
    """Sorts sparsities upwards, then patterns by group, bits downwards, other schemes by bits."""
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
    """2of4 as 2:4, 4bit as 4-bit, no level as a dash, others as they are."""
    if pattern := PATTERN.fullmatch(level):
        return f"{pattern[1]}:{pattern[2]}"
    if bits := BITS.fullmatch(level):
        return f"{bits[1]}-bit"
    return level or "–"
