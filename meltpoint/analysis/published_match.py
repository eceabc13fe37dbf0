"""Published perplexities, matched with the cells of a study that they are compared with."""

from collections import Counter
from typing import Protocol

import pandas as pd

from meltpoint.analysis.levels import nominal_bits


class Comparison(Protocol):
    """Keys by which a table is compared with a published one."""

    compare_with: dict[str, str]
    published_models: dict[str, str]
    published_model: str | None


def of_several_models(published: pd.DataFrame) -> bool:
    """True for a published table of several models, which names one in each row."""
    return "of" in published and bool((published["of"] != "").any())


def published_values(
    cells: pd.DataFrame, spec: Comparison, published: pd.DataFrame
) -> dict[str, float]:
    """Published perplexities of the cells of one model and method, by the level of those cells.

    cells: with `model`, `method`, `row` (the printed name of its row) and `level`. If the published
    table has several models, `spec.published_models` maps our model to the published one, and methods
    must have the same name. Otherwise `spec.compare_with` maps our row to the published method, and
    the table is of the model `spec.published_model`.
    """
    first = cells.iloc[0]
    if of_several_models(published):
        same = published["of"] == spec.published_models.get(first["model"])
        matched = published[same & (published["method"].str.lower() == first["method"])]
    elif spec.published_model not in (None, first["model"]):
        return {}
    else:
        matched = published[published["method"] == spec.compare_with.get(first["row"])]
    values = dict(zip(matched["level"], matched["value"], strict=True))
    levels = list(dict.fromkeys(cells["level"]))
    return {level: values[match] for level, match in pairs(levels, list(values), first["method"])}


def pairs(levels: list[str], published: list[str], method: str) -> list[tuple[str, str]]:
    """Pairs (our level, published level): equal levels, or else the only ones of the same nominal bits.

    So int8 without a level, and w8a8, pair with 8bit; none of several schemes of 4 bits does.
    """
    bits = {level: nominal_bits(level, method) for level in {*levels, *published}}
    counts = [Counter(bits[level] for level in side) for side in (levels, published)]
    by_bits = {
        bits[level]: level
        for level in published
        if "+" not in method and all(count[bits[level]] == 1 for count in counts)
    }
    matches = ((x, x if x in published else by_bits.get(bits[x])) for x in levels)
    return [pair for pair in matches if pair[1] is not None]
