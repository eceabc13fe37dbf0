"""The published tables of model phase transitions as tidy frames, the ones that cells are read to.

A curve is what `fit_curves` groups by: `method`, and `model` where a table has several of a method.
"""

import pandas as pd

from meltpoint.analysis.frame import tidy
from meltpoint.data.published.frames import read

MODEL = "LLaMA-2-7B"
EVALUATION = "wikitext2"
# What stands in Tables 1, 2 and 3, by the number of the table.
BY_LEVEL = {
    1: "mpt_structured_ppl",
    2: "mpt_unstructured_ppl",
    3: "mpt_unstructured_ptb_calibration_ppl",
}


def figure_points() -> pd.DataFrame:
    """Every point that the phase figures draw; the family is `kind`."""
    table = read("mpt_figure_points")
    return tidy(
        table["method"],
        table["sparsity"].map("{:g}".format),
        table["ppl"],
        kind=table["family"],
        model=MODEL,
        evaluation=EVALUATION,
    )


def by_level(number: int) -> pd.DataFrame:
    """Table 1, 2 or 3."""
    table = read(BY_LEVEL[number])
    family = "structured" if number == 1 else "unstructured"
    columns = {"kind": family, "model": MODEL, "evaluation": EVALUATION}
    return tidy(table["method"], table["level"], table["ppl"], **columns)


def lowrank() -> pd.DataFrame:
    """Table 7, without the points of the figure; the data set is the evaluation."""
    table = read("mpt_lowrank_ppl").query("obtained == 'text'").reset_index(drop=True)
    frame = tidy(
        table["method"],
        table["sparsity"].map("{:g}".format),
        table["ppl"],
        kind="low-rank",
        model=MODEL,
        evaluation=table["dataset"],
    )
    return name_dense(frame)


def combined(number: int) -> pd.DataFrame:
    """Table 8, 9 or 10: the quantization is the setting, with its size as `size` in % of FP16."""
    table = read("mpt_combined_ppl")
    table = table[table["table"] == number].reset_index(drop=True)
    frame = tidy(
        table["method"],
        table["ratio"].map("{:g}".format),
        table["ppl"],
        settings=table["quantization"],
        kind={8: "low-rank", 9: "unstructured", 10: "unstructured"}[number],
        model=MODEL,
        evaluation=table["dataset"],
    )
    return name_dense(frame).assign(size=table["size_pct"])


def name_dense(frame: pd.DataFrame) -> pd.DataFrame:
    """The cells at no sparsity are those of the dense model."""
    return frame.assign(chain=frame["chain"].where(frame["level"] != "0", "dense"))
