"""Which published perplexity stands beside which cell of a study."""

from collections import Counter

import pandas as pd

from meltpoint.analysis.levels import nominal_bits


def of_several_models(published: pd.DataFrame) -> bool:
    """Whether a published table says of which of several models each of its rows is."""
    return "of" in published and bool((published["of"] != "").any())


def beside(own: pd.DataFrame, spec, published: pd.DataFrame) -> dict:
    """What is published of the cells of one method and model, by the levels of ours: {level: value}.

    own: cells with `model`, `method`, `row` (what its row is called) and `level`. `spec.beside` has
    of a table of several models theirs by ours, methods being the same then; of any other table the
    published method by our row, and that table is of `spec.published_model` alone.
    """
    first, names = own.iloc[0], spec.beside
    if of_several_models(published):
        same = published["of"] == names.get(first["model"])
        theirs = published[same & (published["method"].str.lower() == first["method"])]
    elif spec.published_model not in (None, first["model"]):
        return {}
    else:
        theirs = published[published["method"] == names.get(first["row"])]
    values = dict(zip(theirs["level"], theirs["value"], strict=True))
    levels = list(dict.fromkeys(own["level"]))
    return {ours: values[level] for ours, level in pairs(levels, list(values), first["method"])}


def pairs(own: list[str], theirs: list[str], method: str) -> list[tuple[str, str]]:
    """Levels that are the same, or alone among their likes in being named after so many bits.

    So int8 without a level, and w8a8, stand for 8bit; but not each of several schemes of 4 bits.
    """
    bits = {level: nominal_bits(level, method) for level in {*own, *theirs}}
    alone = [Counter(bits[level] for level in levels) for levels in (own, theirs)]
    like = {
        bits[level]: level
        for level in theirs
        if "+" not in method and all(count[bits[level]] == 1 for count in alone)
    }
    found = ((level, level if level in theirs else like.get(bits[level])) for level in own)
    return [pair for pair in found if pair[1] is not None]
