"""Labels of data points, put where there is room for them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

# Places of a label, in points from its data point, in order of preference.
PLACES = [
    ((4, 3), "left", "bottom"),
    ((-4, -3), "right", "top"),
    ((0, 5), "center", "bottom"),
    ((0, -5), "center", "top"),
    ((5, 0), "left", "center"),
    ((-5, 0), "right", "center"),
]
SIZE, COLOR = 5.5, "#4A4A4A"
# Number of places between two points of a line that are checked for an overlap with labels.
SAMPLES = 40


def label_points(ax: Axes, x: ArrayLike, y: ArrayLike, labels: Sequence[str]) -> None:
    """Puts a small label by each data point, and leaves out labels without a free place.

    A place is free if no line and no other text is there. Call this after everything else is drawn.
    """
    figure = ax.get_figure(root=True)
    figure.draw_without_rendering()
    lines = line_pixels(ax)
    boxes: list[Bbox] = [text.get_window_extent() for text in ax.texts]
    for point_x, point_y, label in zip(x, y, labels, strict=True):
        if label and np.isfinite([point_x, point_y]).all():
            _label_point(ax, (point_x, point_y), label, lines, boxes)


def line_pixels(ax: Axes) -> np.ndarray:
    """Pixels on the lines of the axes, float [n, 2]."""
    pixels = [np.empty((0, 2))]
    for line in ax.lines:
        points = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
        points = points[np.isfinite(points).all(axis=1)]
        if line.get_linestyle() == "None" or len(points) < 2:
            pixels.append(points)
            continue
        steps = np.linspace(0, 1, SAMPLES)[:, None, None]
        pixels.append((points[:-1] + steps * np.diff(points, axis=0)).reshape(-1, 2))
    return np.concatenate(pixels)


def _label_point(
    ax: Axes, point: tuple[float, float], label: str, lines: np.ndarray, boxes: list[Bbox]
) -> None:
    """Puts one label at the first free place, and adds its box to `boxes`."""
    style = {"textcoords": "offset points", "fontsize": SIZE, "color": COLOR}
    text = ax.annotate(label, point, (0, 0), **style)
    text.set_in_layout(False)
    for offset, across, up in PLACES:
        text.set(position=offset, ha=across, va=up)
        box = text.get_window_extent().padded(0.5)
        inside = ax.bbox.contains(box.x0, box.y0) and ax.bbox.contains(box.x1, box.y1)
        on_line = ((lines > box.min) & (lines < box.max)).all(axis=1).any()
        if inside and not on_line and not any(box.overlaps(other) for other in boxes):
            boxes.append(box)
            return
    text.remove()
