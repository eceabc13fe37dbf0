"""The keys of a study's table that the modules of this folder read."""

from typing import Literal, Protocol

from meltpoint.analysis.published_match import Comparison
from meltpoint.tables.keys import Layout


class EntrySpec(Protocol):
    """Keys that decide how a cell is printed."""

    show: Literal["value", "difference"]
    error: bool
    show_achieved: bool
    mark_best: bool

    def places(self, score_name: str) -> int:
        """Digits after the point of a score."""


class TableSpec(EntrySpec, Comparison, Protocol):
    """Keys of a study's table (`meltpoint.tables.keys.Table`)."""

    value: str | list[str]
    evaluations: list[str]
    columns: Literal["level", "evaluation"]
    layout: Layout
    at_compressions: list[float]
    level: str | None
    equivalence: str | None
    margin: float
    source: str
    average_over: str | None
    labels: dict[str, str]
    order: list[str]
    caption: str
    footnotes: list[str]
    published: str | None
    published_columns: dict[str, str]
    operations: dict[str, str]
    change: str
    published_metrics: dict[str, str]
    compares: bool
