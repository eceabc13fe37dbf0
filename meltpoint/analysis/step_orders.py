"""The effect of order: chains of the same steps that differ by a swap of two neighbours.

`compare_orders` makes a row for each pair of chains. `weaker_first` counts how often the order that
begins with the weaker step is the better one, the hypothesis of "Prune-then-Quantize or
Quantize-then-Prune?", ICLR 2026, arXiv 2603.18426.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from meltpoint.analysis.paired import SIGNIFICANCE
from meltpoint.analysis.pairs import compare_pair
from meltpoint.analysis.samples import Sample
from meltpoint.analysis.sequences import order_pairs, swapped_steps
from meltpoint.analysis.significance import holm
from meltpoint.chain import Step, parse_chain, spell_chain

FIRST, SECOND, NEITHER = "first", "second", "not told apart"
AXES = {"parameters": "parameters gone", "zeros": "zeros", "bits": "bits"}
# Fractions and widths that differ by less are those of roundings.
SAME = 0.005
COLUMNS = [
    *("model", "first", "second", "evaluation", "score", "unit", "first_value", "second_value"),
    *("difference", "stderr", "low", "high", "windows", "test", "p", "p_holm", "better_order"),
    *("weaker", "sizes", "status", "reason"),
]


def compare_orders(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each pair of orders of each model: the columns `COLUMNS`.

    cells: rows of one score with `sample` and `printed`. `difference` is the second order's score less
    the first's, paired by window; `p_holm` is corrected for all pairs. `better_order` is "first",
    "second" or "not told apart". `weaker` says which order begins with the weaker of the swapped steps:
    the one that alone moves the dense model's score by less; "" where a step was not measured alone.
    `sizes` says on which axes the two end with other sizes. A pair with a chain that has no value has
    its `reason`.
    """
    by_model = {
        model: {cell["chain"]: cell for cell in part.to_dict("records")}
        for model, part in cells.groupby("model", sort=False)
    }
    rows = [
        {"model": model, **_compare(known, *pair)}
        for model, known in by_model.items()
        for pair in order_pairs(known)
    ]
    usable = [row for row in rows if row["status"] == "ok"]
    for row in usable:
        row |= _numbers(by_model[row["model"]], row, len(usable))
    lower = (cells["better"] == "lower").all()
    for row, p in zip(usable, holm([row["p"] for row in usable]), strict=True):
        better = SECOND if (row["difference"] < 0) == lower else FIRST
        row |= {"p_holm": p, "better_order": better if p < SIGNIFICANCE else NEITHER}
    return pd.DataFrame(rows, columns=COLUMNS)


def _compare(known: Mapping[str, dict], first: str, second: str) -> dict:
    """Row of a pair of chains before its scores are compared: names, weaker step, sizes, status."""
    pair = known[first], known[second]
    failed = next((cell for cell in pair if not isinstance(cell["sample"], Sample)), None)
    reason = "" if failed is None else failed["reason"] or "its value is not finite"
    return {
        **{"first": first, "second": second},
        **{key: pair[0][key] for key in ("evaluation", "score", "unit")},
        "weaker": weaker(known, *swapped_steps(parse_chain(first), parse_chain(second))),
        "sizes": ""
        if failed is not None
        else sizes(*(cell["sample"].cell.achieved for cell in pair)),
        "status": "ok" if failed is None else "not_applicable",
        "reason": reason,
    }


def _numbers(known: Mapping[str, dict], row: Mapping[str, str], comparisons: int) -> dict:
    """The numbers of a pair; the difference is that of the second order."""
    pair = compare_pair(known[row["second"]], known[row["first"]], comparisons)
    keys = ("difference", "stderr", "low", "high", "windows", "test", "p")
    values = {"first_value": pair["second_value"], "second_value": pair["first_value"]}
    return values | {key: pair[key] for key in keys}


def weaker(known: Mapping[str, dict], first: Step, second: Step) -> str:
    """Order that begins with the weaker of two steps: "first" or "second"; "" where it is not known."""
    moved = [
        abs(known.get(spell_chain((step,)), {}).get("difference", np.nan))
        for step in (first, second)
    ]
    if not np.isfinite(moved).all():
        return ""
    return FIRST if moved[0] < moved[1] else SECOND


def sizes(first: Mapping[str, float], second: Mapping[str, float]) -> str:
    """Phrase on the axes on which two checkpoints have other sizes; "" for equal ones."""
    return "; ".join(
        f"{words} {first[axis]:.3g} and {second[axis]:.3g}"
        for axis, words in AXES.items()
        if axis in first and abs(first[axis] - second[axis]) > SAME * max(1, abs(first[axis]))
    )


def weaker_first(
    table: pd.DataFrame, significant: bool = False, lower: bool = True
) -> dict[str, float]:
    """Pairs in which the weaker step first is better, of how many, and the share's 95 % interval.

    Wilson's interval takes pairs as independent. With `significant` only pairs count whose orders
    are told apart. lower: whether a lower score is better. Of two equal scores neither order is the
    better one. Returns `better`, `pairs`, `share`, `low`, `high`.
    """
    usable = table[(table["status"] == "ok") & (table["weaker"] != "")]
    if significant:
        usable = usable[usable["better_order"] != NEITHER]
    # Above 0 where the order that begins with the weaker step is the better one.
    gain = usable["difference"].astype(float) * (1 if lower else -1)
    better = int((gain.where(usable["weaker"] == FIRST, -gain) > 0).sum())
    if usable.empty:
        return {"better": 0, "pairs": 0, "share": np.nan, "low": np.nan, "high": np.nan}
    interval = stats.binomtest(better, len(usable)).proportion_ci(method="wilson")
    return {
        **{"better": better, "pairs": len(usable), "share": better / len(usable)},
        **{"low": float(interval.low), "high": float(interval.high)},
    }
