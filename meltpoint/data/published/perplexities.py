"""The perplexities of a published table, by model, method and level."""

import pandas as pd

from meltpoint.data.published.read import read
from meltpoint.data.published.row_levels import place


def perplexities(name: str) -> pd.DataFrame:
    """A row for each: model ("" where the table is of one), method, level, value, stderr.

    Methods are as printed, levels as `meltpoint.chain` spells them, both joined by `+` for a chain.
    """
    table = read(name)
    cells = []
    for row in table.to_dict("records"):
        if found := place(name, row):
            numbers = row["ppl"], row.get("ppl_stderr", float("nan"))
            cells.append((row.get("model", ""), *found, *numbers))
    return pd.DataFrame(cells, columns=["model", "method", "level", "value", "stderr"])
