"""Made-up cells of sequences of operations, as a tidy frame of one model."""

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import tidy

OPERATIONS = {"shortgpt": "P", "awq": "Q", "lora": "F"}
# Sequences by their chains, with two scores: the last has none.
CHAINS = {
    "dense": (10.0, 0.5),
    "shortgpt@0.2": (8.0, 0.4),
    "lora": (20.0, 0.6),
    "shortgpt@0.2+awq@4bit": (6.0, 0.3),
    "awq@4bit+shortgpt@0.2": (5.0, 0.45),
    "shortgpt@0.2+awq@4bit+lora": (np.nan, np.nan),
    "wanda@0.5": (1.0, 0.1),
}
SCORES = ["lawbench", "mmlu.stem"]
REASON = "no kernel"


def frame() -> pd.DataFrame:
    """The cells. Errors of the scores are 0.2 and 0.02, those of differences to dense half as large."""
    law = {"evaluation": "lawbench", "score": "mean", "label": "LawBench", "stderr": 0.2}
    stem = {"evaluation": "mmlu", "score": "stem", "main": False, "label": "STEM", "stderr": 0.02}
    parts = [
        _cells(place, {"better": "higher", "difference_stderr": columns["stderr"] / 2} | columns)
        for place, columns in enumerate((law, stem))
    ]
    return pd.concat(parts, ignore_index=True)


def _cells(place: int, columns: dict[str, object]) -> pd.DataFrame:
    values = [scores[place] for scores in CHAINS.values()]
    cells = tidy("", "", values, model="m", **columns).assign(chain=list(CHAINS))
    failed = cells["value"].isna()
    cells.loc[failed, ["status", "reason"]] = ["not_applicable", REASON]
    dense = cells["chain"] == "dense"
    cells.loc[dense | failed, "difference_stderr"] = np.nan
    return cells
