"""Words beside points, where there is room for them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

# Where a word may stand, in points from its point: the first free place is taken.
PLACES = [
    ((4, 3), "left", "bottom"),
    ((-4, -3), "right", "top"),
    ((0, 5), "center", "bottom"),
    ((0, -5), "center", "top"),
    ((5, 0), "left", "center"),
    ((-5, 0), "right", "center"),
]
SIZE, COLOR = 5.5, "#4A4A4A"
# Places on a line between two of its points that a word keeps clear of.
SAMPLES = 40


def put_words(ax: Axes, x: ArrayLike, y: ArrayLike, words: Sequence[str]) -> None:
    """A small word by each point of data; one that would lie on another, or on a line, is left out.

    Call it when all else is drawn: what lies where is known only then.
    """
    figure = ax.get_figure(root=True)
    figure.draw_without_rendering()
    crowd = obstacles(ax)
    taken: list[Bbox] = [text.get_window_extent() for text in ax.texts]
    for at_x, at_y, word in zip(x, y, words, strict=True):
        if word and np.isfinite([at_x, at_y]).all():
            put_word(ax, (at_x, at_y), word, crowd, taken)


def obstacles(ax: Axes) -> np.ndarray:
    """Pixels on the lines of the axes [n, 2]."""
    found = [np.empty((0, 2))]
    for line in ax.lines:
        pixels = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
        pixels = pixels[np.isfinite(pixels).all(axis=1)]
        if line.get_linestyle() == "None" or len(pixels) < 2:
            found.append(pixels)
            continue
        steps = np.linspace(0, 1, SAMPLES)[:, None, None]
        found.append((pixels[:-1] + steps * np.diff(pixels, axis=0)).reshape(-1, 2))
    return np.concatenate(found)


def put_word(ax: Axes, point: tuple, word: str, crowd: np.ndarray, taken: list[Bbox]) -> None:
    style = {"textcoords": "offset points", "fontsize": SIZE, "color": COLOR}
    text = ax.annotate(word, point, (0, 0), **style)
    text.set_in_layout(False)
    for offset, across, up in PLACES:
        text.set(position=offset, ha=across, va=up)
        box = text.get_window_extent().padded(0.5)
        inside = ax.bbox.contains(box.x0, box.y0) and ax.bbox.contains(box.x1, box.y1)
        on_line = ((crowd > box.min) & (crowd < box.max)).all(axis=1).any()
        if inside and not on_line and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            return
    text.remove()
