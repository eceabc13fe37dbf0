"""Published tables of model phase transitions as tidy frames (`meltpoint.analysis.frame`).

`fit_curves` fits a curve to each `method`, or to each method and setting.
"""

import pandas as pd

from meltpoint.analysis.frame import tidy
from meltpoint.data.published.frames import read

MODEL = "LLaMA-2-7B"
EVALUATION = "wikitext2"
# The CSV files of Tables 1, 2 and 3.
BY_LEVEL = {
    1: "mpt_structured_ppl",
    2: "mpt_unstructured_ppl",
    3: "mpt_unstructured_ptb_calibration_ppl",
}


def figure_points() -> pd.DataFrame:
    """Every point that the phase figures draw; the family is `kind`."""
    table = read("mpt_figure_points")
    return frame_of(table, table["sparsity"], kind=table["family"])


def by_level(number: int) -> pd.DataFrame:
    """Table 1, 2 or 3."""
    table = read(BY_LEVEL[number])
    return frame_of(table, table["level"], kind="structured" if number == 1 else "unstructured")


def lowrank() -> pd.DataFrame:
    """Table 7, without the points of the figure; the data set is the evaluation."""
    table = read("mpt_lowrank_ppl").query("obtained == 'text'").reset_index(drop=True)
    return frame_of(table, table["sparsity"], kind="low-rank", evaluation=table["dataset"])


def combined(number: int) -> pd.DataFrame:
    """Table 8, 9 or 10: the quantization is the setting, with its size as `size` in % of FP16."""
    table = read("mpt_combined_ppl").query("table == @number").reset_index(drop=True)
    columns = {"settings": table["quantization"], "evaluation": table["dataset"]}
    kind = "low-rank" if number == 8 else "unstructured"
    return frame_of(table, table["ratio"], kind=kind, **columns).assign(size=table["size_pct"])


def frame_of(table: pd.DataFrame, level: pd.Series, **columns: str | pd.Series) -> pd.DataFrame:
    """Tidy frame of a table's perplexities; the cells at a level of 0 are those of the dense model."""
    if pd.api.types.is_numeric_dtype(level):
        level = level.map("{:g}".format)
    columns = {"model": MODEL, "evaluation": EVALUATION} | columns
    frame = tidy(table["method"], level, table["ppl"], **columns)
    return frame.assign(chain=frame["chain"].where(frame["level"] != "0", "dense"))
