"""A study's figures: what their keys may say depends on their kind."""

from typing import Annotated, Any, Union

from pydantic import Discriminator, Tag

from meltpoint import figures


def kind_of(figure: Any) -> str | None:
    """The kind of a figure, read or still to be read."""
    keys = figure if isinstance(figure, dict) else getattr(figure, "__dict__", {})
    return keys.get("kind", figures.DEFAULT_KIND)


# A figure of a study, by its `kind`: one of the registered kinds.
Figure = Annotated[
    Union[tuple(Annotated[k.spec, Tag(name)] for name, k in figures.registry().items())],  # noqa: UP007
    Discriminator(kind_of),
]
