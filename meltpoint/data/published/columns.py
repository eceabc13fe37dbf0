"""Types of the columns of published tables: the allowed texts of a cell, and their values."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from meltpoint.chain import Bits, Scheme, parse_level
from meltpoint.errors import MeltpointError

# GGUF's names as they are printed (Q2_K_M and Q8_K_0 among them), and RTN and GPTQ with their bits.
SCHEME = r"^(I?Q[1-8]_([01KMS]|K_[SML0])|FP16|RTN_INT\d|GPTQ_\dbit)$"


def not_blank(value: str) -> str:
    """The text; raises ValueError for one without a letter."""
    if not value.strip():
        raise ValueError("the cell is empty")
    return value


def as_value_error(parse: Callable[[str], str]) -> Callable[[str], str]:
    """A parser that raises ValueError instead of MeltpointError, so that pydantic adds the place."""

    def parse_cell(value: str) -> str:
        """The parsed cell."""
        try:
            return parse(value)
        except MeltpointError as error:
            raise ValueError(str(error)) from None

    return parse_cell


@as_value_error
def chain_level(value: str) -> str:
    """A level, or levels joined by `+`, in the spelling of `meltpoint.chain`."""
    return "+".join(str(parse_level(part)) for part in value.split("+"))


@as_value_error
def pruning_level(value: str) -> str:
    """A sparsity or a pattern in the spelling of `meltpoint.chain` ("0.5", "2of4")."""
    level = parse_level(value)
    if isinstance(level, Bits | Scheme):
        raise ValueError("it is no sparsity such as 0.5, and no pattern such as 2:4")
    return str(level)


def true_or_false(value: str) -> bool:
    """The boolean for "true" or "false"; raises ValueError for any other text."""
    if value not in ("true", "false"):
        raise ValueError("it is neither true nor false")
    return value == "true"


Text = Annotated[str, AfterValidator(not_blank)]
PublishedNumber = Annotated[float, BeforeValidator(lambda cell: cell or "nan")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
BitWidth = Annotated[int, Field(ge=1, le=16)]
SchemeName = Annotated[str, Field(pattern=SCHEME)]
ChainLevel = Annotated[str, AfterValidator(chain_level)]
PruningLevel = Annotated[str, AfterValidator(pruning_level)]
Boolean = Annotated[bool, BeforeValidator(true_or_false)]
