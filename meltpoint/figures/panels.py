"""How many panels a figure has in a row, and how large it may be: known before it is drawn."""

import math

from meltpoint.errors import MeltpointError

# Panels of a row, where each is of a model, or of a pair of methods.
ACROSS = 3
# Inches of a figure that a page still shows.
WIDEST, TALLEST = 14.0, 20.0
# Height of a panel, about, as a share of its width.
HEIGHT = 0.8


def grid(count: int) -> tuple[int, int]:
    """Rows and columns of so many panels."""
    return -(-count // ACROSS), min(count, ACROSS)


def check_size(key: str, width: float, rows: int, columns: int) -> None:
    """Raises MeltpointError, naming `{key}.width`, for panels in inches that are too large together."""
    height = HEIGHT * rows
    if columns * width > WIDEST or height * width > TALLEST:
        most = min(WIDEST / columns, TALLEST / height)
        raise MeltpointError(
            f"{key}.width: panels of {width:g} inches, {columns} beside each other and {rows} below, "
            f"are too large a figure: {math.floor(10 * most) / 10:g} at the most, or show less"
        )
