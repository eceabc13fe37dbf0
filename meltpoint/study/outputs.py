"""A study's tables and figures: what their keys may say, with defaults and descriptions."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from meltpoint.data import published
from meltpoint.figures.panels import ACROSS, TALLEST, WIDEST
from meltpoint.study.sections import Name, ScoreName, Section
from meltpoint.text import did_you_mean

Digits = Annotated[int, Field(ge=0, le=8)]


def published_table(name: str | None) -> str | None:
    """The name, where it is that of a published table."""
    if name is not None and name not in published.names():
        raise ValueError(f"unknown published table{did_you_mean(name, published.names())}")
    return name


class Table(Section):
    """A table over a sweep: CSV, Markdown, LaTeX."""

    of: Name = Field(description="a sweep, or a group of chains")
    value: ScoreName | Annotated[list[ScoreName], Field(min_length=1)] = Field(
        description="The score: an `evaluation`, which means its main score, or `evaluation.score`; "
        "where the columns are evaluations, a list of them."
    )
    rows: Literal["method"] = Field("method", description="what the rows are")
    columns: Literal["level", "evaluation"] = Field(
        "level",
        description="`level`: a column for each, of one evaluation; `evaluation`: a column for each "
        "of several, and a row for each method and level",
    )
    show: Literal["value", "difference"] = Field(
        "value", description="the value, or its paired difference to dense"
    )
    error: bool = Field(False, description="print ± the standard error")
    digits: Digits | dict[ScoreName, Digits] = Field(
        2, description="after the point; or by evaluation: `{docs-256: 3, size: 1}` (others: 2)"
    )
    mark: bool = Field(True, description="the best of a column bold, the second underlined")
    order: list[str] = Field(default_factory=list, description="the rows' order; unset: as swept")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="what rows are called, by method and settings as in a chain: "
        '`{"wanda,allocation=owl": Wanda-OWL}`',
    )
    achieved: bool = Field(True, description="print the achieved sparsity beside the values")
    over: Name | None = Field(
        None, description="a setting, such as `seed`: a row for all its values, mean ± deviation"
    )
    footnotes: list[str] = Field(default_factory=list, description="lines below the table")
    caption: str = Field("", description="above the table")
    published: Name | None = Field(
        None,
        description="a table of resources/published, by its name, whose perplexities are put below, "
        "as rows of their own, or with `beside`, in a table of evaluations right of ours: "
        "`mpt_unstructured_ppl`, `mpt_quant_ppl`, `mpt_combined_ppl` and others by method and level, "
        "`mpt_gguf` and `mpt_gguf_families` by model and scheme",
    )
    beside: dict[str, str] = Field(
        default_factory=dict,
        description="of the published table only these methods, by the row of ours that each stands "
        "with, and the difference: `{ria: RIA}`; where it holds several models, these models by ours: "
        "`{llama2-7b: LLaMA-2-7B}`",
    )
    published_model: Name | None = Field(
        None,
        description="with `beside`, of a published table of one model: which of yours that is; needed "
        "where several are shown",
    )

    _is_there = field_validator("published")(published_table)

    @property
    def evaluations(self) -> list[str]:
        """The evaluations that it shows."""
        return [self.value] if isinstance(self.value, str) else self.value

    def places(self, evaluation: str) -> int:
        """Digits after the point of an evaluation."""
        return self.digits if isinstance(self.digits, int) else self.digits.get(evaluation, 2)

    @model_validator(mode="after")
    def _value_is_what_columns_need(self) -> Self:
        if isinstance(self.value, str) != (self.columns == "level"):
            raise ValueError(
                "value: one evaluation where the columns are levels, a list of them where they are "
                "evaluations (`columns: evaluation`)"
            )
        if len(set(self.evaluations)) < len(self.evaluations):
            raise ValueError("value: an evaluation is there twice")
        return self

    @model_validator(mode="after")
    def _digits_are_of_what_it_shows(self) -> Self:
        named = self.digits if isinstance(self.digits, dict) else {}
        for name in named:
            if name not in self.evaluations:
                raise ValueError(
                    f"digits: {name!r} is not shown{did_you_mean(name, self.evaluations)}"
                )
        return self

    @model_validator(mode="after")
    def _published_values_are_values(self) -> Self:
        if self.beside and self.published is None:
            raise ValueError("beside: say which published table it is, with `published`")
        if self.published_model and not self.beside:
            raise ValueError("published_model: say which rows are compared with it, with `beside`")
        if self.published is not None and self.show == "difference":
            raise ValueError("published: what is published has no difference to our dense model")
        return self


class Figure(Section):
    """A figure of an evaluation over a sweep: SVG and PNG."""

    of: Name = Field(description="a sweep, or a group of chains")
    value: ScoreName = Field(
        description="The score: an `evaluation`, which means its main score, or `evaluation.score`."
    )
    kind: Literal["curves", "spread", "tradeoff", "contour"] = Field(
        "curves",
        description="`curves`: perplexity over sparsity; `spread`: how far values spread over a "
        "setting such as the calibration's seed, or from method to method; `tradeoff`: perplexity "
        "over what the model weighs, or another evaluation; `contour`: perplexity over the sparsity "
        "of a pruning step and the bits of a quantization step",
    )
    x: ScoreName = Field(
        "level",
        description="what lies along the axis; of a spread `method`, or a setting; of a tradeoff "
        "`level`, for nominal bits, or an evaluation",
    )
    y: ScoreName = Field(
        "level",
        description="of a contour: what the quantization's bits are, `level`, for nominal ones, or "
        "an evaluation such as bits per weight",
    )
    over: Name | None = Field(
        None, description="of a spread: the setting, such as `seed`; unset: one value each"
    )
    levels: list[Any] = Field(
        default_factory=list, description="of a spread: a panel for each; unset: all"
    )
    fit: Literal["transition"] | None = Field(
        None, description="`transition`: draw the fitted curves and their transition points"
    )
    colors: dict[str, str] = Field(default_factory=dict, description="of methods, by name")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="what the legend calls them, by method and settings as in a chain",
    )
    order: list[str] = Field(default_factory=list, description="the legend's order")
    caption: str = Field("", description="for the report")
    published: Name | None = Field(
        None,
        description="a table of resources/published, by its name, whose curves of the same methods "
        "are drawn beside: dashed, with hollow markers (of curves and tradeoffs)",
    )
    beside: dict[str, str] = Field(
        default_factory=dict,
        description="of a published table that holds several models: these, by ours: "
        "`{llama2-7b: LLaMA-2-7B}`",
    )
    published_model: Name | None = Field(
        None,
        description="of a published table of one model: which of yours that is; needed where several "
        "are shown",
    )
    width: float = Field(
        3.35,
        gt=1,
        le=WIDEST,
        description="of a panel, in inches; those of a tradeoff and of a contour stand in rows of "
        f"{ACROSS}, and all together are at most {WIDEST:g} wide and {TALLEST:g} high",
    )

    _is_there = field_validator("published")(published_table)

    @property
    def evaluations(self) -> list[str]:
        """The evaluations that it shows."""
        along = {"tradeoff": self.x, "contour": self.y}.get(self.kind, "level")
        return [self.value, *([along] if along != "level" else [])]

    @model_validator(mode="after")
    def _axes_are_of_its_kind(self) -> Self:
        if self.kind != "tradeoff" and (self.kind == "spread") == (self.x == "level"):
            raise ValueError(
                "x: curves and contours lie along `level`, a spread along `method` or a setting"
            )
        if self.kind != "contour" and self.y != "level":
            raise ValueError("y: only a contour has bits along it")
        if self.value in self.evaluations[1:]:
            raise ValueError(f"{self.value} is drawn over itself: name another evaluation")
        return self

    @model_validator(mode="after")
    def _published_has_a_place(self) -> Self:
        if self.published is not None and self.kind not in ("curves", "tradeoff"):
            raise ValueError(f"published: a {self.kind} has no place for it")
        if self.published_model and self.published is None:
            raise ValueError("published_model: say which table it is of, with `published`")
        if self.beside and self.published is None:
            raise ValueError("beside: say which published table it is, with `published`")
        return self
