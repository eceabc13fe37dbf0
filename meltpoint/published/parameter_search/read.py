"""The CSV file of the published parameter search as a frame of `meltpoint.analysis.parameter_search`.

135 runs: 3 models, 3 pruning methods, 5 calibration lengths, 3 numbers of calibration samples.
"""

from pathlib import Path

import pandas as pd

from meltpoint.analysis.parameter_search import Search
from meltpoint.analysis.significance import mean_stderr
from meltpoint.data.published import FOLDER
from meltpoint.data.published.frames import read
from meltpoint.errors import MeltpointError

MODELS = ("Llama", "Mistral", "Qwen")
# The published accuracies are exact fractions of these numbers of questions.
SEARCH = Search(
    tasks={
        **{"boolq": 3270, "piqa": 1838, "hellaswag": 10042, "winogrande": 1267},
        **{"arc_easy": 2376, "arc_challenge": 1172, "openbookqa": 500},
    }
)


def read_search(folder: Path = FOLDER) -> pd.DataFrame:
    """The runs; raises MeltpointError for a model without any."""
    runs = read("hgsp_search", folder)
    for model in set(MODELS) - set(runs["model"]):
        raise MeltpointError(f"hgsp_search.csv, column 'model': no row is of {model}")
    return runs


def with_stderr(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with `stderr`, the standard error of the mean accuracy from the test questions."""
    sizes = list(SEARCH.tasks.values())
    return runs.assign(stderr=mean_stderr(runs[SEARCH.accuracies].to_numpy(), sizes))
