"""Keys of a study's table, with defaults and descriptions."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from meltpoint.analysis.operation_keys import OfOperations
from meltpoint.analysis.output_keys import COMPRESSIONS, AtLevel, Compared, Compressions
from meltpoint.data import published
from meltpoint.section import Name, ScoreName
from meltpoint.text import did_you_mean

Digits = Annotated[int, Field(ge=0, le=8)]

Layout = Literal["values", "pairs", "families", "tasks", "orders", "changes", "strategies"]


class Table(AtLevel, OfOperations, Compared):
    """A table over a sweep or a group of chains, written as CSV, Markdown and LaTeX."""

    value: ScoreName | Annotated[list[ScoreName], Field(min_length=1)] = Field(
        description="Score that the table shows: an `evaluation`, which means its main score, or "
        "`evaluation.score`; a list of them with `columns: evaluation`."
    )
    rows: Literal["method"] = Field("method", description="Rows of the table: one for each method.")
    columns: Literal["level", "evaluation"] = Field(
        "level",
        description="Columns of the table. `level`: one for each level, of one evaluation. "
        "`evaluation`: one for each evaluation, with a row for each method and level.",
    )
    layout: Layout = Field(
        "values",
        description="`values`: a number for each method and column. `pairs`: a row for each pair of "
        "methods at `level`, with the difference, its paired error over windows, p values and the "
        "verdict. `families`: the best and the median method of each family at equal `compressions`, "
        "and which families cannot be told apart. `tasks`: a row for each task of an evaluation and "
        "each method, with the score, the paired difference to dense, the answers that changed and "
        "McNemar's exact p. `orders`: a row for each two chains of the same steps that differ by a "
        "swap of neighbours, with the paired difference, p values, whether they end with one size, and "
        "how often the weaker step first is better. `changes`: a row for each sequence of `operations` "
        "and what it changes in percent. `strategies`: a row for each decoding strategy of "
        "`generation`, with `columns: evaluation`; a score of one strategy in `value` means that of "
        "all.",
    )
    compressions: Compressions | None = Field(
        None,
        description="With `layout: families`: fractions that are removed, of the weights or of 16 "
        f"bits, and of the bytes. Default: {COMPRESSIONS}, at which 8 and 4 bits stand.",
    )
    equivalence: str | None = Field(
        None,
        description="Margin in per cent of the dense model's value, such as `0.5%`: the table says of "
        "each method whether its loss is within the margin (two one-sided tests), which margin could "
        "be shown with these windows, and how many windows would be needed. Default: a table of "
        "values.",
    )
    show: Literal["value", "difference"] = Field(
        "value", description="Number to print: the value, or its paired difference to dense."
    )
    error: bool = Field(False, description="Whether ± the standard error is printed.")
    digits: Digits | dict[ScoreName, Digits] = Field(
        2,
        description="Digits after the decimal point, for all evaluations or by evaluation: "
        "`{docs-256: 3, size: 1}` (2 for the others).",
    )
    mark_best: bool = Field(
        True,
        description="Whether the best of a column is bold and the second underlined. What cannot be "
        "told apart from the best is bold too, with ≈ behind it.",
    )
    show_achieved: bool = Field(
        True, description="Whether the achieved sparsity is printed beside the values."
    )
    average_over: Name | None = Field(
        None,
        description="Setting to average over, such as `seed`: one row for all its values, with their "
        "mean and standard deviation. Default: none.",
    )
    footnotes: list[str] = Field(default_factory=list, description="Lines below the table.")
    compare_with: dict[str, str] = Field(
        default_factory=dict,
        description="Published method to compare each row with: `{ria: RIA}` by the name of our row. "
        "The published number and the difference are printed with the row: below it, or to its right "
        "with `columns: evaluation`. Without it, published methods are rows of their own.",
    )

    published_columns: dict[ScoreName, Name] = Field(
        default_factory=dict,
        description="Column of the published table that a score is compared with, besides the "
        "perplexity: `{zeroshot.arc_easy: arc_e}`, with `columns: evaluation`.",
    )

    @property
    def compares(self) -> bool:
        """True if rows are compared with published ones, not only printed with them."""
        return bool(self.compare_with or self.published_models)

    @property
    def margin(self) -> float:
        """The margin of equivalence as a fraction of the dense value."""
        return float(self.equivalence.rstrip(" %")) / 100

    @property
    def at_compressions(self) -> list[float]:
        """Fractions at which families are compared."""
        return self.compressions or COMPRESSIONS

    @property
    def compares_chains(self) -> bool:
        """True if the rows are comparisons, not values."""
        return self.layout in ("pairs", "families", "orders") or self.equivalence is not None

    @property
    def needs_samples(self) -> bool:
        """True if the table needs the files that are kept beside its cells."""
        return self.compares_chains or self.layout in ("tasks", "changes") or self.mark_best

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Pairs of the key `value` and a score that it names."""
        return [("value", e) for e in ([self.value] if isinstance(self.value, str) else self.value)]

    def places(self, evaluation: str) -> int:
        """Number of digits after the decimal point of an evaluation."""
        return self.digits if isinstance(self.digits, int) else self.digits.get(evaluation, 2)

    @field_validator("equivalence", mode="before")
    @classmethod
    def _is_a_margin(cls, text: Any) -> Any:
        if text is None:
            return None
        if not re.fullmatch(r"\d*\.?\d+ *%", str(text)):
            raise ValueError("write the margin in per cent of the dense value, such as 0.5%")
        if not 0 < float(str(text).rstrip(" %")) < 100:
            raise ValueError("a margin lies above 0 % and below 100 %: no loss is exactly 0")
        return str(text)

    @field_validator("published")
    @classmethod
    def _is_a_published_table(cls, name: str | None) -> str | None:
        known = (*published.names(), *published.strategy_tables())
        if name is not None and name not in known:
            raise ValueError(f"unknown published table{did_you_mean(name, known)}")
        return name

    @model_validator(mode="after")
    def _published_table_is_of_the_rows(self) -> Self:
        of_strategies = self.published in published.strategy_tables()
        if self.published is not None and of_strategies != (self.layout == "strategies"):
            rows = "decoding strategies" if of_strategies else "methods"
            raise ValueError(
                f"published: {self.published} is of {rows}, and the table's rows are not"
            )
        if self.layout == "strategies" and self.columns == "level":
            raise ValueError("layout: strategies are rows of a table with `columns: evaluation`")
        return self

    @model_validator(mode="after")
    def _compares_values(self) -> Self:
        if self.layout != "values" and self.equivalence is not None:
            raise ValueError(f"equivalence: a table of {self.layout} has none: write two tables")
        if self.layout == "tasks" and self.average_over is not None:
            raise ValueError("average_over: a table of tasks has a row for each chain")
        if self.layout == "tasks" and self.published is not None:
            raise ValueError("published: a table of tasks compares with dense alone")
        if self.level is not None and (
            not self.compares_chains or self.layout in ("families", "orders")
        ):
            raise ValueError("level: only tables with `layout: pairs` or `equivalence` have it")
        if self.layout != "changes" and (self.operations or self.change or self.published_metrics):
            raise ValueError("operations: only tables with `layout: changes` have them")
        if self.layout != "families" and self.compressions:
            raise ValueError("compressions: only tables with `layout: families` have it")
        if self.compares_chains and self.published is not None:
            raise ValueError("published: published numbers have no windows to compare by")
        return self

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
    def _published_columns_are_of_what_it_shows(self) -> Self:
        if self.published_columns and not (self.compares and self.columns == "evaluation"):
            raise ValueError(
                "published_columns: they stand beside rows that are compared, with `columns: "
                "evaluation` and `published_models` or `compare_with`"
            )
        for score, column in self.published_columns.items():
            if score not in self.evaluations:
                raise ValueError(
                    f"published_columns: {score!r} is not shown{did_you_mean(score, self.evaluations)}"
                )
            known = published.columns(self.published)
            if column not in known:
                raise ValueError(
                    f"published_columns: {self.published} has no column {column!r}"
                    f"{did_you_mean(column, known)}"
                )
        return self

    @model_validator(mode="after")
    def _published_values_are_values(self) -> Self:
        if self.compare_with and self.published is None:
            raise ValueError("compare_with: name the published table too, with `published`")
        if self.published_model and not self.compare_with:
            raise ValueError("published_model: name the rows to compare too, with `compare_with`")
        if self.published is not None and self.show == "difference":
            raise ValueError("published: published numbers have no difference to our dense model")
        return self
