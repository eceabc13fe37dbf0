"""Published tables of perplexity, each row by its method, and its level as `meltpoint.chain` has it.

Nothing but Python's own is imported: a study is checked by it before anything runs.
"""

from collections.abc import Callable, Mapping

# What a scheme is called in llama.cpp, where a table prints it otherwise.
PRINTED = {"q8_k_0": "q8_0", "q2_k_m": "q2_k", "fp16": "f16"}
UNQUANTIZED = "FP16"
# Of two texts the one that all other tables are of.
DATASET = "wikitext2"

Row = Mapping[str, object]
Place = tuple[str, str]


def plain(row: Row) -> Place:
    return str(row["method"]), str(row["level"])


def by_bits(row: Row) -> Place:
    return str(row["method"]), f"{row['bits']}bit"


def by_scheme(row: Row) -> Place:
    return "GGUF", scheme(str(row["scheme"]))


def combined(row: Row) -> Place | None:
    """A chain of two steps, or of the one that is done; None for another text, and for dense."""
    if row["dataset"] != DATASET:
        return None
    ratio = float(row["ratio"])
    steps = [(str(row["method"]), f"{ratio:g}")] if ratio else []
    if row["quantization"] != UNQUANTIZED:
        steps.append(quantization(str(row["quantization"])))
    return tuple(map("+".join, zip(*steps, strict=True))) if steps else None


def quantization(printed: str) -> Place:
    """GPTQ_4bit, RTN_INT8 and Q4_K_M as method and level."""
    method, _, bits = printed.partition("_")
    if method in ("GPTQ", "RTN"):
        return method, f"{bits.strip('INTbit')}bit"
    return "GGUF", scheme(printed)


def scheme(printed: str) -> str:
    return PRINTED.get(printed.lower(), printed.lower())


# The tables that name method and level otherwise than by columns `method` and `level`.
SPELLINGS: dict[str, Callable[[Row], Place | None]] = {
    "mpt_quant_ppl": by_bits,
    "mpt_gguf": by_scheme,
    "mpt_gguf_families": by_scheme,
    "mpt_combined_ppl": combined,
}


def place(table: str, row: Row) -> Place | None:
    """Method and level of a row of a published table, each joined by `+` where a chain has several.

    None for a row that is no cell of its own.
    """
    return SPELLINGS.get(table, plain)(row)
