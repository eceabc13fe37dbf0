"""Tooltips: texts that an SVG shows when the pointer rests on a data point; a PNG has none."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.transforms import Transform
from numpy.typing import ArrayLike

# Tooltips are above everything else, as the topmost element gets the pointer.
ZORDER = 1e6
# Pixels around the axes in which a point on the edge still counts as inside.
EDGE = 1.0


def note(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    text: str | Sequence[str],
    radius: float = 5.0,
    transform: Transform | None = None,
) -> None:
    """Gives a data point, or many, a tooltip: x, y and text are broadcast.

    x and y are data coordinates, or coordinates of `transform`. radius: of the sensitive circle, in
    points. A point that is not finite or outside the axes when the figure is written gets no circle.
    Line breaks of the text are kept in the tooltip.
    """
    figure = ax.get_figure(root=True)
    tooltips = next((artist for artist in figure.artists if isinstance(artist, Tooltips)), None)
    if tooltips is None:
        tooltips = figure.add_artist(Tooltips())
    for point_x, point_y, words in np.broadcast(x, y, np.asarray(text, dtype=object)):
        tooltips.points.append((ax, transform, float(point_x), float(point_y), str(words), radius))


class Tooltips(Artist):
    """The tooltips of a figure, drawn together with it, after the layout has placed their points."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[Axes, Transform | None, float, float, str, float]] = []
        self.set_zorder(ZORDER)
        self.set_in_layout(False)

    def draw(self, renderer: RendererBase) -> None:
        """Writes a transparent circle with a title for each point inside its axes, into an SVG only."""
        writer = getattr(renderer, "writer", None)
        if writer is None or not self.get_visible():
            return
        writer.start("g", attrib={"class": "notes"})
        for ax, transform, x, y, text, radius in self.points:
            place = (transform or ax.transData).transform((x, y))
            if is_inside(ax, place):
                # A transparent fill gets the pointer; a circle without a fill would not.
                writer.start("circle", attrib=circle(renderer, *place, radius))
                writer.element("title", text)
                writer.end("circle")
        writer.end("g")


def is_inside(ax: Axes, place: np.ndarray) -> bool:
    """True for a place on the canvas, in pixels [2], within the axes or on their edge."""
    box = ax.bbox.padded(EDGE)
    return bool(np.isfinite(place).all()) and box.contains(*place)


def circle(renderer: RendererBase, x: float, y: float, radius: float) -> dict[str, str]:
    """Attributes of the circle, in the SVG's coordinates: points, y downwards."""
    size = renderer.points_to_pixels(radius)
    sizes = {"cx": x, "cy": renderer.height - y, "r": size}
    return {
        **{k: f"{v:.3f}".rstrip("0").rstrip(".") for k, v in sizes.items()},
        "fill-opacity": "0",
    }
