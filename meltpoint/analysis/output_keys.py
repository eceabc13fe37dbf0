"""Keys that tables and figures share."""

from typing import Annotated, Any, Self

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from meltpoint.chain import parse_level
from meltpoint.data import published
from meltpoint.errors import MeltpointError
from meltpoint.section import Name, Section
from meltpoint.text import did_you_mean

# Fractions at which families of methods are compared.
Compressions = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)]
COMPRESSIONS = [0.5, 0.7]
# In YAML a level is a number or a word.
LEVEL_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]}


class Output(Section):
    """A table or figure of a sweep or a group of chains."""

    source: Name = Field(description="Name of the sweep or group of chains that is shown.")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Names to print, by method and settings as a chain spells them: "
        '`{"wanda,allocation=owl": Wanda-OWL}`. Default: method and settings themselves.',
    )
    order: list[str] = Field(
        default_factory=list,
        description="Order of the rows or of the legend, by printed name. Default: as in the study.",
    )
    caption: str = Field(
        "", description="Caption, in the report too. Default: the evaluation and the axes."
    )

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Evaluations that are shown, each with the key that names it."""
        raise NotImplementedError

    @property
    def evaluations(self) -> list[str]:
        """Names of the evaluations that are shown."""
        return [evaluation for _, evaluation in self.shown]


class AtLevel(Section):
    """A table or figure that compares chains with each other, at one level or at all."""

    level: Annotated[str | None, WithJsonSchema(LEVEL_SCHEMA)] = Field(
        None,
        description='Level at which methods are compared: 0.5, "2:4" (in quotes), 4bit; for chains of '
        "several steps the levels joined by `+`. Default: all chains of the source.",
    )

    @field_validator("level", mode="before")
    @classmethod
    def _is_a_level(cls, level: Any) -> Any:
        parts = level.split("+") if isinstance(level, str) else [level]
        try:
            return None if level is None else "+".join(str(parse_level(part)) for part in parts)
        except MeltpointError as error:
            raise ValueError(str(error)) from None


class Compared(Output):
    """A table or figure that can show published numbers too."""

    published: Name | None = Field(
        None,
        description="Name of a table of resources/published whose perplexities are shown too: "
        "`mpt_unstructured_ppl`, `mpt_quant_ppl`, `mpt_combined_ppl` and others by method and level, "
        "`mpt_gguf` and `mpt_gguf_families` by model and scheme. Default: none.",
    )
    published_models: dict[str, str] = Field(
        default_factory=dict,
        description="Published model to compare each model of the study with, needed where the "
        "published table holds several models: `{llama2-7b: LLaMA-2-7B}`.",
    )
    published_model: Name | None = Field(
        None,
        description="Model of the study that a published table of one model is compared with. It is "
        "needed where several models are shown. Default: the only one.",
    )

    @field_validator("published")
    @classmethod
    def _is_a_published_table(cls, name: str | None) -> str | None:
        if name is not None and name not in published.names():
            raise ValueError(f"unknown published table{did_you_mean(name, published.names())}")
        return name

    @model_validator(mode="after")
    def _names_the_published_table(self) -> Self:
        for key in ("published_models", "published_model"):
            if getattr(self, key) and self.published is None:
                raise ValueError(f"{key}: name the published table too, with `published`")
        return self
