"""The type of a study's figures, whose keys depend on their kind."""

from typing import Annotated, Any, Union

from pydantic import Discriminator, Tag

from meltpoint import figures


def kind_of(figure: Any) -> str | None:
    """The kind that a figure names, or the default; the figure is a dict of keys or a spec."""
    keys = figure if isinstance(figure, dict) else getattr(figure, "__dict__", {})
    return keys.get("kind", figures.DEFAULT_KIND)


# A figure of a study, by its `kind`: one of the registered kinds.
Figure = Annotated[
    Union[tuple(Annotated[k.spec, Tag(name)] for name, k in figures.registry().items())],  # noqa: UP007
    Discriminator(kind_of),
]
