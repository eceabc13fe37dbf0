"""What the rows of a table and the lines of a figure stand for."""

import pandas as pd


def row_names(cells: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    """With `name`, the method and its settings as a sweep spells them, and how it is shown.

    `row` and `row_settings` are the method and its settings, or the label that `labels` gives to
    the name, and no settings.
    """
    settings = cells["settings"].fillna("")
    name = cells["method"].str.cat(settings, sep=",").str.strip(",")
    label = name.map(lambda known: labels.get(known, ""))
    return cells.assign(
        settings=settings,
        name=name,
        row=label.where(label != "", cells["method"]),
        row_settings=settings.where(label == "", ""),
    )


def without(settings: str, key: str) -> str:
    """The settings of a chain's steps as they are spelled, less one of them."""
    steps = (step.split(",") for step in settings.split("+"))
    left = (",".join(part for part in step if not part.startswith(f"{key}=")) for step in steps)
    return "+".join(filter(None, left))


def average_over(cells: pd.DataFrame, key: str) -> pd.DataFrame:
    """One row for all values of a setting: the mean, as error the standard deviation over them.

    `count` is how many there are. What has not the setting stays as it is, its error too; of one value
    no deviation is known (NaN). Where some are not applicable the row is, with their reason.
    """
    settings = cells["settings"].fillna("").map(lambda text: without(text, key))
    swept = cells.assign(settings=settings, count=1)
    place = ["model", "method", "settings", "level", "evaluation"]
    return pd.DataFrame([_average(group) for _, group in swept.groupby(place, sort=False)])


def _average(group: pd.DataFrame) -> pd.Series:
    if len(group) == 1:
        return group.iloc[0]
    failed = group[group["status"] != "ok"]
    if len(failed):
        return failed.iloc[0]
    first = group.iloc[0].copy()
    for value, error in (("value", "stderr"), ("difference", "difference_stderr")):
        first[value], first[error] = group[value].mean(), group[value].std(ddof=1)
    first["achieved"], first["count"] = group["achieved"].mean(), len(group)
    return first
