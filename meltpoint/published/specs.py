"""The descriptions in resources/published/*.yaml: texts, sources and layouts of tables."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from meltpoint.data.published import FOLDER
from meltpoint.errors import MeltpointError
from meltpoint.files import from_here
from meltpoint.report.entries import Item
from meltpoint.validation import problem


class Spec(BaseModel):
    """A section of the files: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Measure(Spec):
    """One printed value of each CSV row."""

    value: str = Field(description="The CSV column that holds the value.")
    error: str | None = Field(None, description="The CSV column that holds its standard error.")
    quantity: str = Field("", description="What is measured; `{quantity}` in labels and heads.")
    digits: int | None = Field(
        None,
        description="Digits after the point. Unset: as many as the values of the printed row were "
        "published with, from 2 to 4.",
    )
    better: Literal["lower", "higher", ""] = Field(
        "", description="Which values are marked as best; unset: none."
    )


class Layout(Spec):
    """Layout of a CSV file as a table; `{column}` stands for the row's value in that column."""

    csv: str = Field(description="The CSV file's name in resources/published, without its ending.")
    where: dict[str, Any] = Field({}, description="Only CSV rows with these values are printed.")
    words: dict[str, dict[str, str]] = Field(
        {}, description="Printed words for values of a CSV column."
    )
    rows: dict[str, str] = Field(
        description="Labels of a row, by their heads. Rows that share the first label are a block."
    )
    columns: str = Field(description="The head that a value stands under.")
    csv_column: str = Field(
        description="The column that holds the head in the table's own CSV file."
    )
    heads: list[str] = Field(
        [], description="Order of the heads. Unset: the order of the measures and of the CSV file."
    )
    sort_by: str | None = Field(None, description="The CSV column that the rows are sorted by.")
    measures: list[Measure]
    best: Literal["column", "row"] = Field(
        "column",
        description="Whether the values of a column (within a block) compete, or of a row.",
    )
    competing: dict[str, str] = Field(
        {}, description="Only rows with these printed values compete."
    )


class Footnote(Spec):
    """A note on cells, each named by its labels and its head as they are printed."""

    text: str
    cells: list[list[str]]


class Texts(Spec):
    """Title and caption of a table, figure or file; `phrases` are filled in by their names."""

    title: str
    caption: str
    remarks: list[str] = Field([], description="Sentences below a table.")
    footnotes: list[Footnote] = []
    layout: Layout | None = None
    table: Path | None = None
    text: Path | None = None

    @property
    def notes(self) -> dict[tuple[str, ...], str]:
        """Text of the footnote of each cell that has one, by its labels and its head."""
        return {tuple(cell): note.text for note in self.footnotes for cell in note.cells}


class Part(Spec):
    """A part of the report page: all tables, figures or files of the study."""

    category: str
    show: Literal["tables", "figures", "files"]
    anchor: str = Field("", description="What precedes a name in the page's links.")
    with_figures: bool = Field(False, description="Show a figure with the table of its name.")


class StudySpec(Spec):
    """A published study: the texts of its tables, figures and files, and their sources."""

    phrases: dict[str, str]
    page: list[Part]
    sources: dict[str, list[str]] = Field(description="CSV files that a job reads, by the job.")
    words: dict[str, str] = Field(
        {}, description="Printed words for metrics, factors and measures."
    )
    files: dict[str, Texts]
    figures: dict[str, Texts]
    tables: dict[str, Texts]

    @field_validator("files", "figures", "tables", mode="before")
    @classmethod
    def _phrases_are_filled_in(cls, texts: dict, info: ValidationInfo) -> dict:
        return {name: filled(text, info.data["phrases"]) for name, text in texts.items()}

    def items(self) -> list[Item]:
        """Items of the report page, in its order."""
        return [
            item(part, name, texts, self.figures)
            for part in self.page
            for name, texts in getattr(self, part.show).items()
        ]

    def texts(self) -> dict:
        """The whole description as JSON values; a change of it makes the study's results stale."""
        return self.model_dump(mode="json")


def filled(texts: dict, phrases: dict[str, str]) -> dict:
    """Title, caption, remarks and footnotes, with phrases in the places of their names.

    Raises ValueError for an unknown phrase.
    """
    try:
        return with_phrases(texts, phrases)
    except KeyError as error:
        raise ValueError(f"no phrase is called {error.args[0]!r}") from None


def with_phrases(texts: dict, phrases: dict[str, str]) -> dict:
    """The texts with the phrases filled in; raises KeyError for an unknown phrase."""
    notes = [
        {**note, "text": note["text"].format_map(phrases)} for note in texts.get("footnotes", [])
    ]
    remarks = [remark.format_map(phrases) for remark in texts.get("remarks", [])]
    caption = texts["caption"].format_map(phrases)
    return {**texts, "caption": caption, "remarks": remarks, "footnotes": notes}


def item(part: Part, name: str, texts: Texts, figures: dict[str, Texts]) -> Item:
    """Item of the report page; a figure that is shown with its table brings the caption."""
    files = {"table": texts.table, "text": texts.text}
    if part.show == "tables":
        files["table"] = Path(f"tables/{name}.csv")
    if part.show == "figures" or (part.with_figures and name in figures):
        files["figure"] = Path(f"figures/{name}.svg")
        texts = figures[name]
    return Item(part.category, f"{part.anchor}{name}", texts.title, texts.caption, **files)


@cache
def study(name: str) -> StudySpec:
    """The study that resources/published/{name}.yaml describes."""
    return read_study(FOLDER / f"{name}.yaml")


def read_study(path: Path) -> StudySpec:
    """The study that a YAML file describes; raises MeltpointError that names the file and the key."""
    try:
        return StudySpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise MeltpointError(f"{from_here(path)} cannot be read as YAML ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise MeltpointError(f"{from_here(path)}: {key}: {problem(first)}") from None
