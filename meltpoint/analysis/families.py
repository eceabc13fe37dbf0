"""Families of methods at equal compression: the best and the median of each, and which differ.

Two things can be equal. `removed` is the fraction of the decoder's parameters that is gone or zero, or
of 16 bits in a quantized model. `bytes` is the fraction of the bytes that the dense decoder takes in
16 bit, where zeros cost a mask of one bit a weight.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import DENSE_BITS
from meltpoint.analysis.levels import family_of, nominal_bits
from meltpoint.analysis.pairs import BETTER, NEITHER, WORSE, compare_all
from meltpoint.analysis.samples import Sample

# Families, usually the best first. Each N:M pattern is a family of its own, sorted as "pattern".
FAMILIES = ("quantization", "unstructured", "pattern", "structured", "low-rank")
EQUAL = ("removed", "bytes")
RANKS = ("best", "median")
# How far below and above the compression a method may be. The first allows for rounded shapes, the
# second for 4 bits at a compression of 0.7.
SHORT, OVER = 0.02, 0.06
OPPOSITE = {BETTER: WORSE, WORSE: BETTER, NEITHER: NEITHER}
COLUMNS = [
    *("model", "equal", "compression", "family", "methods", "evaluation", "score", "unit"),
    *(
        f"{rank}{column}"
        for rank in RANKS
        for column in ("", "_chain", "_value", "_stderr", "_removed", "_stored")
    ),
    *(
        f"{rank}_{column}"
        for rank in RANKS
        for column in ("first", "better_than", "tied_with", "p_holm")
    ),
]


def with_families(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of a single step with their `family`, and the fractions `by_removed` and `by_bytes`.

    Chains of several steps and those of kinds that compress nothing are left out. A pattern such as 2:4
    is a family of its own.
    """
    single = (cells["chain"] != "dense") & ~cells["method"].str.contains("+", regex=False)
    cells = cells[single & cells["kind"].isin(FAMILIES)]
    bits = [nominal_bits(*pair) for pair in zip(cells["level"], cells["method"], strict=True)]
    quantized = cells["kind"] == "quantization"
    removed = cells["removed"].mask(quantized, 1 - np.asarray(bits, float) / DENSE_BITS)
    family = list(map(family_of, cells["kind"], cells["level"]))
    stored = cells["stored"] / DENSE_BITS
    return cells.assign(family=family, by_removed=removed, by_bytes=1 - stored)


def family_key(family: str) -> tuple[int, str]:
    """Sort key of a family: the order of `FAMILIES`, patterns by name."""
    place = FAMILIES.index(family if family in FAMILIES else "pattern")
    return place, family


def at_compression(cells: pd.DataFrame, equal: str, compression: float) -> pd.DataFrame:
    """The mildest cell of each method that reaches the compression and is close to it, best first.

    cells: those of `with_families`. Values that are not finite come last; what is not applicable or
    refused is left out.
    """
    share = cells[f"by_{equal}"]
    near = share.between(compression - SHORT, compression + OVER) & (cells["status"] == "ok")
    mildest = cells[near].sort_values(f"by_{equal}", kind="stable")
    once = mildest.drop_duplicates(["model", "family", "name"])
    order = np.argsort([place(cell) for cell in once.to_dict("records")], kind="stable")
    return once.iloc[order]


def median_of(ranked: pd.DataFrame) -> dict:
    """The row in the middle of ranked rows; of two in the middle the worse one."""
    return ranked.iloc[len(ranked) // 2].to_dict()


def compare_families(cells: pd.DataFrame, compressions: Sequence[float]) -> pd.DataFrame:
    """A row for each model, kind of equality, compression and family: the columns `COLUMNS`.

    cells: those of `with_families`, with `sample`, `name` and `printed`. Within a block of rows the
    best methods of all families are compared by pairs, and so are the median ones; p values are
    corrected for all pairs together. `_first` is true of the block's first of a rank, and `_p_holm` is
    that of the pair with it; `_better_than` and `_tied_with` list families. Rows of a block come best
    first.
    """
    blocks = [
        families_at(of_model, equal, compression)
        for _, of_model in cells.groupby("model", sort=False)
        for equal in EQUAL
        for compression in compressions
    ]
    verdicts = compare_blocks(blocks)
    rows = [
        {key: row[key] for key in ("equal", "compression", "family", "methods")}
        | {key: row["best"][key] for key in ("model", "evaluation", "score", "unit")}
        | columns_of(row, block, "best", verdicts[index, "best"])
        | columns_of(row, block, "median", verdicts[index, "median"])
        for index, block in enumerate(blocks)
        for row in block
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def families_at(cells: pd.DataFrame, equal: str, compression: float) -> list[dict]:
    """The families of one model at a compression, each with its best and its median row, best first."""
    ranked = at_compression(cells, equal, compression)
    # Groups come in the order of their first rows, which are their best ones.
    return [
        {
            **{"equal": equal, "compression": compression, "family": family},
            **{"methods": len(rows), "best": rows.iloc[0].to_dict(), "median": median_of(rows)},
        }
        for family, rows in ranked.groupby("family", sort=False)
    ]


def compare_blocks(blocks: list[list[dict]]) -> dict[tuple[int, str], dict]:
    """Verdicts and corrected p by block and rank, for each pair of families in either order."""
    keys, pairs = [], []
    for index, block in enumerate(blocks):
        for rank in RANKS:
            usable = [row for row in block if isinstance(row[rank]["sample"], Sample)]
            for first, second in combinations(usable, 2):
                keys.append((index, rank, first["family"], second["family"]))
                pairs.append((first[rank], second[rank]))
    verdicts = {(index, rank): {} for index in range(len(blocks)) for rank in RANKS}
    found = compare_all(pairs)[["verdict", "p_holm"]].itertuples(index=False, name=None)
    for (index, rank, first, second), (verdict, p) in zip(keys, found, strict=True):
        verdicts[index, rank][first, second] = verdict, p
        verdicts[index, rank][second, first] = OPPOSITE[verdict], p
    return verdicts


def columns_of(row: dict, block: list[dict], rank: str, verdicts: dict) -> dict:
    """The columns of a family's best or median method, whose verdicts are by pairs of families."""
    cell, family = row[rank], row["family"]
    of_family = {second: found for (first, second), found in verdicts.items() if first == family}
    leader = min(block, key=lambda other: place(other[rank]))["family"]
    return {
        **{rank: cell["printed"], f"{rank}_chain": cell["chain"]},
        **{f"{rank}_{key}": cell[key] for key in ("value", "stderr", "stored")},
        f"{rank}_removed": cell[f"by_{row['equal']}"],
        f"{rank}_first": family == leader,
        f"{rank}_better_than": with_verdict(of_family, BETTER),
        f"{rank}_tied_with": with_verdict(of_family, NEITHER),
        f"{rank}_p_holm": of_family.get(leader, ("", np.nan))[1],
    }


def place(cell: dict) -> float:
    """The value, lower for better; values that are not finite come last."""
    if not np.isfinite(cell["value"]):
        return np.inf
    return cell["value"] if cell["better"] == "lower" else -cell["value"]


def with_verdict(verdicts: dict[str, tuple[str, float]], verdict: str) -> str:
    """Names of the families with a verdict, joined by commas."""
    families = [family for family, (found, _) in verdicts.items() if found == verdict]
    return ", ".join(sorted(families, key=family_key))
