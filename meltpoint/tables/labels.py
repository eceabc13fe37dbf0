"""Order and printed labels of a table's cells."""

import pandas as pd

from meltpoint.analysis.levels import level_key, level_label


def with_labels(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with the printed labels of their rows; dense has no settings and no level."""
    dense = cells["chain"] == "dense"
    settings = cells["row_settings"].where(cells["row_settings"] != "", "default")
    return cells.assign(
        label_model=cells["model"],
        label_method=cells["row"],
        label_settings=settings.mask(dense, ""),
        label_level=cells["level"].map(level_label).mask(dense, ""),
    )


def arrange(cells: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """The cells in the order of rows: by model, dense first, then the methods of `order`.

    Models and other methods keep the order of the frame; levels are in their natural order.
    """
    methods = [*order, *(m for m in cells["row"].unique() if m not in order)]
    keys = pd.DataFrame(index=cells.index)
    keys["model"] = pd.factorize(cells["model"])[0]
    keys["method"] = cells["row"].map(methods.index).where(cells["chain"] != "dense", -1)
    keys["settings"] = pd.factorize(cells["settings"])[0]
    keys["level"] = cells["level"].map(level_key)
    return cells.loc[keys.sort_values(list(keys)).index]
