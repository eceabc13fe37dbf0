"""The kinds of cells of a published table: what each makes of a text, or why it cannot."""

import re
from collections.abc import Callable

from meltpoint.chain import Bits, Scheme, parse_level
from meltpoint.errors import MeltpointError

# GGUF's names as they are printed (Q2_K_M and Q8_K_0 among them), and RTN and GPTQ with their bits.
SCHEME = re.compile(r"I?Q[1-8]_(?:[01KMS]|K_[SML0])|FP16|RTN_INT\d|GPTQ_\dbit")


def text(value: str) -> str:
    if not value.strip():
        raise ValueError("nothing stands where a name belongs")
    return value


def number(value: str) -> float:
    """A float; "nan" and "inf" are published values."""
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{value!r} is no number") from None


def integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{value!r} is no whole number") from None


def fraction(value: str) -> float:
    """A number from 0 up to 1, 1 not included."""
    if not 0 <= number(value) < 1:
        raise ValueError(f"{value!r} is no fraction between 0 and 1")
    return float(value)


def bits(value: str) -> int:
    if not 1 <= integer(value) <= 16:
        raise ValueError(f"{value!r} is no bit width between 1 and 16")
    return int(value)


def level(value: str) -> str:
    """A sparsity or a pattern, in the one spelling of `meltpoint.chain` ("0.5", "2of4")."""
    try:
        found = parse_level(value)
    except MeltpointError:
        found = None
    if found is None or isinstance(found, Bits | Scheme):
        raise ValueError(f"{value!r} is no level: write a sparsity such as 0.5, or 2:4")
    return str(found)


def any_level(value: str) -> str:
    """Any level, in the one spelling of `meltpoint.chain`; those of a chain are joined by `+`."""
    try:
        return "+".join(str(parse_level(part)) for part in value.split("+"))
    except MeltpointError as error:
        raise ValueError(str(error)) from None


def scheme(value: str) -> str:
    if not SCHEME.fullmatch(value):
        raise ValueError(f"{value!r} is no quantization scheme such as Q4_K_M or RTN_INT8")
    return value


def boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"{value!r} is neither true nor false")
    return value == "true"


KINDS: dict[str, Callable[[str], object]] = {
    kind.__name__: kind
    for kind in (text, number, integer, fraction, bits, level, any_level, scheme, boolean)
}


def cell(kind: str, value: str):
    """A cell of a kind; NaN for an empty one where the kind ends in a question mark.

    Raises ValueError with what is wrong.
    """
    if kind.endswith("?") and not value.strip():
        return float("nan")
    if not value.strip():
        raise ValueError("the cell is empty")
    return KINDS[kind.removesuffix("?")](value)
