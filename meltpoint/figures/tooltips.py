"""Texts of data points, which an SVG shows when the pointer rests on them; a PNG has none."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.transforms import Transform
from numpy.typing import ArrayLike

# Above whatever is drawn: what lies on top gets the pointer.
ZORDER = 1e6
EDGE = 1.0


def note(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    text: str | Sequence[str],
    radius: float = 5.0,
    transform: Transform | None = None,
) -> None:
    """Register the text of a data point, or of many: x, y and text are broadcast.

    radius is that of the sensitive circle, in points. x and y are data coordinates, or those of
    `transform`. A point that is not finite, or lies outside the axes when the figure is written, has
    no circle. A line break in the text is one in the tooltip.
    """
    figure = ax.get_figure(root=True)
    notes = next((artist for artist in figure.artists if isinstance(artist, Notes)), None)
    if notes is None:
        notes = figure.add_artist(Notes())
    for at_x, at_y, words in np.broadcast(x, y, np.asarray(text, dtype=object)):
        notes.points.append((ax, transform, float(at_x), float(at_y), str(words), radius))


class Notes(Artist):
    """A figure's texts. Being drawn with it, they stand where layout and format put their points."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[Axes, Transform | None, float, float, str, float]] = []
        self.set_zorder(ZORDER)
        self.set_in_layout(False)

    def draw(self, renderer) -> None:
        """Write a transparent circle with a title for each point that is seen, into an SVG alone."""
        writer = getattr(renderer, "writer", None)
        if writer is None or not self.get_visible():
            return
        writer.start("g", attrib={"class": "notes"})
        for ax, transform, x, y, text, radius in self.points:
            place = (transform or ax.transData).transform((x, y))
            if seen(ax, place):
                # A fill that is transparent takes the pointer; none at all would not.
                writer.start("circle", attrib=circle(renderer, *place, radius))
                writer.element("title", text)
                writer.end("circle")
        writer.end("g")


def seen(ax: Axes, place: np.ndarray) -> bool:
    """Whether a place on the canvas, in pixels, is within the axes or on their edge."""
    box = ax.bbox.padded(EDGE)
    return bool(np.isfinite(place).all()) and box.contains(*place)


def circle(renderer, x: float, y: float, radius: float) -> dict[str, str]:
    """Attributes of the circle, in the SVG's coordinates: points, y downwards."""
    size = renderer.points_to_pixels(radius)
    sizes = {"cx": x, "cy": renderer.height - y, "r": size}
    return {
        **{k: f"{v:.3f}".rstrip("0").rstrip(".") for k, v in sizes.items()},
        "fill-opacity": "0",
    }
