"""Limits of a figure's size and the arrangement of its panels, known before it is drawn."""

import math

from meltpoint.errors import MeltpointError

# Number of panels in a row, for panels of models or of pairs of methods.
ACROSS = 3
# Largest width and height of a figure in inches, so that a page can show it.
WIDEST, TALLEST = 14.0, 20.0
# Height of a panel, about, as a share of its width.
HEIGHT = 0.8


def grid(count: int) -> tuple[int, int]:
    """Numbers of rows and columns for `count` panels."""
    return -(-count // ACROSS), min(count, ACROSS)


def check_size(key: str, width: float, rows: int, columns: int) -> None:
    """Raises MeltpointError, naming `{key}.width`, for panels that are too large together.

    width: of a panel in inches.
    """
    height = HEIGHT * rows
    if columns * width > WIDEST or height * width > TALLEST:
        most = min(WIDEST / columns, TALLEST / height)
        raise MeltpointError(
            f"{key}.width: panels of {width:g} inches, {columns} beside each other and {rows} below, "
            f"are too large a figure: {math.floor(10 * most) / 10:g} at the most, or show less"
        )
