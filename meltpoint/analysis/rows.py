"""Names of the rows of a table and the lines of a figure, and means over a setting."""

from collections.abc import Mapping

import pandas as pd

from meltpoint.analysis.draws import draw_of
from meltpoint.analysis.samples import stack
from meltpoint.chain import row_name, without

# What names a row, and the columns that hold how it is shown.
LABELS = ["model", "method", "settings"]
SHOWN = {"method": "row", "settings": "row_settings"}


def row_names(cells: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """A copy of the cells with the columns `name`, `row` and `row_settings`.

    `name` is the method with its settings, as a sweep spells them. `row` and `row_settings` are
    printed: the method and its settings, or the label that `labels` gives to the name, and no settings.
    """
    settings = cells["settings"].astype(object).fillna("")
    name = pd.Series(map(row_name, cells["method"], settings), index=cells.index, dtype=object)
    labelled = name.isin(list(labels))
    return cells.assign(
        settings=settings,
        name=name,
        row=name.map(labels).where(labelled, cells["method"]),
        row_settings=settings.where(~labelled, ""),
    )


def average_over(cells: pd.DataFrame, key: str) -> pd.DataFrame:
    """One row for all values of a setting, with their mean and, as its error, standard deviation.

    `count` is the number of values; a single value has an error of NaN. Rows without the setting keep
    their value and error. If one value is not applicable, the row is not applicable, with its reason.
    Refused values are left out of the mean, and a note gives their number. A column `sample`, if there
    is one, then holds one sample of all draws.
    """
    settings = cells["settings"].astype(object).fillna("")
    left = settings.map(lambda text: without(text, key))
    draws = settings.map(lambda text: draw_of(text, key))
    cells = cells.assign(settings=left, swept=left != settings, draw=draws)
    place = ["model", "method", "settings", "level", "evaluation", "score"]
    return pd.DataFrame([_average(group) for _, group in cells.groupby(place, sort=False)])


def _average(group: pd.DataFrame) -> pd.Series:
    absent, refused = (group[group["status"] == x] for x in ("not_applicable", "refused"))
    values = group[group["status"] == "ok"]
    first = next(part for part in (absent, values, refused) if len(part)).iloc[0].copy()
    first["count"] = len(group)
    if len(absent) or values.empty or not group["swept"].any():
        return first
    if len(refused):
        first["count"] = len(values)
        left_out = f"{len(refused)} of {len(group)} refused, and left out of the mean"
        notes = [first.get("note"), left_out]
        first["note"] = "; ".join(note for note in notes if isinstance(note, str) and note)
    group = values
    if "sample" in group:
        first["sample"] = stack(dict(zip(group["draw"], group["sample"], strict=True)))
    for value, error in (("value", "stderr"), ("difference", "difference_stderr")):
        first[value], first[error] = group[value].mean(), group[value].std(ddof=1)
    first["achieved"] = group["achieved"].mean()
    return first
