"""Published tables as pandas data frames."""

import csv
from pathlib import Path

import pandas as pd

from meltpoint.data.published.read import FOLDER, read_rows
from meltpoint.data.published.rows import PERPLEXITY


def read(name: str, folder: Path = FOLDER) -> pd.DataFrame:
    """Data frame of a published table, its columns in the file's order.

    Numbers are floats, NaN if nothing was published; whole numbers that may be missing are floats too.
    Levels have the spelling of `meltpoint.chain` ("0.5", "2of4"). Raises MeltpointError for a file
    that `read_rows` refuses.
    """
    rows = pd.DataFrame([row.model_dump() for row in read_rows(name, folder)])
    with (Path(folder) / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return rows[next(csv.reader(file))]


def perplexities(name: str, column: str = PERPLEXITY) -> pd.DataFrame:
    """Perplexities of a published table, with the columns model, method, level, value and stderr.

    The model is "" in a table of one model. Methods are as printed, levels in the spelling of
    `meltpoint.chain`; both are joined by `+` for a chain. column: a column of numbers to read instead
    of the perplexity. stderr is NaN if the table has none.
    """
    cells = []
    for row in read_rows(name):
        if step := row.step():
            values = row.model_dump()
            stderr = values.get(f"{column}_stderr", float("nan"))
            cells.append((values.get("model", ""), *step, values[column], stderr))
    return pd.DataFrame(cells, columns=["model", "method", "level", "value", "stderr"])
