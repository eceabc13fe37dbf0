"""Keys that every kind of figure has."""

from typing import Self

from pydantic import Field, model_validator

from meltpoint.analysis.output_keys import Output
from meltpoint.figures.panels import ACROSS, TALLEST, WIDEST
from meltpoint.section import ScoreName


class FigureSpec(Output):
    """A figure of an evaluation over a sweep or a group of chains, written as SVG and PNG.

    `kind` says how it is drawn, and each kind has keys of its own.
    """

    # A kind's own `Spec` adds `kind`, a Literal of the kind's name.

    value: ScoreName = Field(
        description="Score that is drawn: an `evaluation`, which means its main score, or "
        "`evaluation.score`."
    )
    colors: dict[str, str] = Field(
        default_factory=dict,
        description="Colours by method with its settings, in any spelling that matplotlib knows. "
        "Default: a fixed one for each method.",
    )
    width: float = Field(
        3.35,
        gt=1,
        le=WIDEST,
        description=f"Width of a panel in inches. Panels that form a grid stand in rows of {ACROSS}; "
        f"the whole figure is at most {WIDEST:g} wide and {TALLEST:g} high.",
    )

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Pairs of a key and the score that it names."""
        return [("value", self.value)]

    @property
    def needs_transitions(self) -> bool:
        """True if the figure draws fitted curves, so that its source must be a sweep."""
        return False

    @property
    def needs_samples(self) -> bool:
        """True if the figure needs the files that are kept beside the cells."""
        return False

    @property
    def axes(self) -> str:
        """The axes in words, for a caption that the study does not give."""
        return "by levels"

    @model_validator(mode="after")
    def _shows_each_evaluation_once(self) -> Self:
        if len(set(self.evaluations)) < len(self.evaluations):
            raise ValueError(f"{self.value} is drawn over itself: name another evaluation")
        return self
