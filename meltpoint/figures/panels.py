"""How many panels a figure has in a row, and how large it may be: known before it is drawn."""

# Panels of a row, where each is of a model, or of a pair of methods.
ACROSS = 3
# Inches of a figure that a page still shows.
WIDEST, TALLEST = 14.0, 20.0


def grid(count: int) -> tuple[int, int]:
    """Rows and columns of so many panels."""
    return -(-count // ACROSS), min(count, ACROSS)
