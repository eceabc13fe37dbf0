"""All pairs of methods at a level, or of the chains of a group: which is better, and how surely."""

from itertools import combinations

import numpy as np
import pandas as pd

from meltpoint.analysis.draws import SEED
from meltpoint.analysis.levels import level_label
from meltpoint.analysis.paired import (
    SIGNIFICANCE,
    check_size,
    effect,
    p_values,
    test_of,
)
from meltpoint.analysis.rows import average_over
from meltpoint.analysis.samples import Sample, calibration_of, differences, units_of
from meltpoint.analysis.significance import holm
from meltpoint.errors import MeltpointError

BETTER, WORSE, NEITHER = "better", "worse", "not told apart"
COLUMNS = [
    *("model", "first", "second", "evaluation", "score", "unit", "first_value", "second_value"),
    *("difference", "stderr", "stderr_windows", "stderr_draws", "low", "high", "windows", "draws"),
    *("test", "p", "p_holm", "verdict", "first_chain", "second_chain", "calibrations"),
]


def at_level(cells: pd.DataFrame, level: str | None) -> pd.DataFrame:
    """The compressed cells of a level, or all of them for None."""
    cells = cells[cells["chain"] != "dense"]
    return cells if level is None else cells[cells["level"] == level]


def draws_together(cells: pd.DataFrame, key: str | None) -> pd.DataFrame:
    """One row for the draws of each chain, with one sample: those that differ in `key`, or a seed."""
    return average_over(cells, key or SEED)


def printed_names(cells: pd.DataFrame) -> pd.Series:
    """Names of chains: the row's label with its settings, and the level where there are several."""
    settings = cells["row_settings"].map(lambda text: f", {text}" if text else "")
    names = cells["row"] + settings
    if len(cells["level"].unique()) < 2:
        return names
    return names + cells["level"].map(lambda level: f" at {level_label(level)}" if level else "")


def split_usable(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The cells that can be paired, and a phrase on each of the others."""
    usable = cells["sample"].map(lambda sample: isinstance(sample, Sample)).astype(bool)
    left = cells[~usable]
    phrases = [
        f"{name} ({reason or 'its value is not finite'})"
        for name, reason in zip(left["printed"], left["reason"].fillna(""), strict=True)
    ]
    return cells[usable], phrases


def compare(cells: pd.DataFrame) -> pd.DataFrame:
    """Each pair of rows of each model: the columns `COLUMNS`.

    cells: rows of one score, with `sample` and `printed`, a name. `difference` is the first less the
    second, with its errors over windows and draws and its 95 % interval; `p_holm` is corrected for all
    pairs together, and `verdict` says what the first is. Raises MeltpointError where no model has two
    rows, where there are too few windows, or where two cells cannot be compared.
    """
    pairs = [
        pair
        for _, rows in cells.groupby("model", sort=False)
        for pair in combinations(rows.to_dict("records"), 2)
    ]
    if not pairs:
        names = ", ".join(cells["printed"]) or "nothing"
        raise MeltpointError(f"a pair needs two chains that have a value, and there is {names}")
    return compare_all(pairs)


def compare_all(pairs: list[tuple[dict, dict]]) -> pd.DataFrame:
    """Each of these pairs of rows: the columns `COLUMNS`, p values corrected for all of them."""
    compared = [compare_pair(*pair, len(pairs)) for pair in pairs]
    corrected = holm([pair["p"] for pair in compared])
    better = [first["better"] for first, _ in pairs]
    for pair, p, direction in zip(compared, corrected, better, strict=True):
        pair |= {"p_holm": p, "verdict": verdict(p, pair["difference"], direction)}
    return pd.DataFrame(compared, columns=COLUMNS)


def compare_pair(first: dict, second: dict, comparisons: int) -> dict:
    """The numbers of one pair of rows; `p` is that of the pair alone."""
    a, b = first["sample"], second["sample"]
    of_pair = differences(a, b)
    check_size(of_pair, f"{a.name} and {b.name}", units_of([a, b]))
    found = effect(of_pair)
    low, high = found.interval()
    calibrations = [calibration_of(sample) for sample in (a, b)]
    differ = all(calibrations) and len(set(calibrations)) > 1
    return {
        **{key: first[key] for key in ("model", "evaluation", "score", "unit")},
        **{"first": first["printed"], "second": second["printed"]},
        **{"first_value": a.scores.mean(), "second_value": b.scores.mean()},
        **{"difference": float(found.value), "stderr": float(found.stderr)},
        **{"stderr_windows": float(found.windows), "stderr_draws": float(found.draws)},
        **{"low": float(low), "high": float(high)},
        **{"windows": of_pair.shape[1], "draws": len(of_pair)},
        **{"test": test_of(of_pair), "p": float(p_values(of_pair[..., None], comparisons)[0])},
        **{"first_chain": a.cell.chain, "second_chain": b.cell.chain},
        "calibrations": " and ".join(calibrations) if differ else "",
    }


def verdict(p: float, difference: float, better: str) -> str:
    """Verdict on the first of a pair, in words."""
    if not p < SIGNIFICANCE:
        return NEITHER
    return BETTER if (difference < 0) == (better == "lower") else WORSE


def not_told_apart(best: Sample, others: list[Sample]) -> list[bool | None]:
    """True for each of a column's other samples that cannot be told apart from the best.

    None for one that cannot be compared. p values are corrected for the column (Holm).
    """
    p = {}
    for index, other in enumerate(others):
        try:
            of_pair = differences(other, best)
            check_size(of_pair, other.name)
        except MeltpointError:
            continue
        p[index] = float(p_values(of_pair[..., None], len(others))[0])
    corrected = dict(zip(p, holm(list(p.values())), strict=True))
    return [
        None if index not in corrected else bool(not corrected[index] < SIGNIFICANCE)
        for index in range(len(others))
    ]


def windows_of(compared: pd.DataFrame) -> str:
    """Number of windows, or other units, of a comparison, in words: "176", "40 to 176"."""
    low, high = np.min(compared["windows"]), np.max(compared["windows"])
    return str(low) if low == high else f"{low} to {high}"


def error_sentences(compared: pd.DataFrame, units: str) -> list[str]:
    """Sentences on what the errors hold: the units alone, or draws of the calibration too.

    units: "windows" or "documents".
    """
    single, several = compared[compared["draws"] == 1], compared[compared["draws"] > 1]
    sentences = []
    if len(several):
        counts = sorted(set(several["draws"]))
        draws = " or ".join(map(str, counts))
        sentences.append(
            f"±: standard error over {windows_of(several)} {units} and {draws} draws of the calibration"
        )
    if len(single):
        whose = "without seeds, ±" if len(several) else "±"
        sentences.append(
            f"{whose}: standard error over {windows_of(single)} {units} only; the draw of the "
            "calibration is not part of it"
        )
    return sentences
