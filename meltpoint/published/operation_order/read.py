"""The CSV files of the order study as the frames of `meltpoint.analysis.operation_order`.

P is pruning, Q quantization, F fine-tuning. Scores are percentages, printed with two decimals.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.analysis.significance import percent_stderr
from meltpoint.data.published import FOLDER
from meltpoint.data.published.frames import read
from meltpoint.data.published.read import refuse

OPERATIONS = ("P", "Q", "F")
METRICS = ("lawbench", "stem", "mmlu_law")
# Questions of each MMLU subject (Hendrycks et al. 2021), in the subjects' alphabetical order; a
# score is the plain mean of its subjects. LawBench's numbers of questions are not published.
SUBJECTS = {
    "stem": (
        *(100, 135, 152, 144, 100, 100, 100, 102, 100, 235),
        *(145, 378, 310, 203, 100, 270, 151, 216, 112),
    ),
    "mmlu_law": (121, 1534),
}
NOT_APPLICABLE = (
    "not applicable; the source gives no reason: its scripts try to merge a LoRA adapter into 4-bit "
    "AWQ weights, which cannot be done, and it has no 16-bit model with the same layers"
)


@dataclass(frozen=True)
class OrderStudy:
    """The published study.

    sequences: the CSV's rows (a column for each metric, model_size_gb, applicable); scores: the same
    as a frame of `meltpoint.analysis.operation_order`; published: the published changes.
    """

    sequences: pd.DataFrame
    scores: pd.DataFrame
    published: pd.DataFrame

    @property
    def not_applicable(self) -> list[str]:
        """Sequences without scores."""
        return list(self.sequences.loc[~self.sequences["applicable"], "sequence"])


def read_study(folder: Path = FOLDER) -> OrderStudy:
    """The study; raises MeltpointError for a change of a sequence or metric that has no score."""
    published, sequences = read("opseq_published_changes", folder), read("opseq_scores", folder)
    scores = scores_of(sequences)
    known = pd.MultiIndex.from_frame(scores.dropna(subset="score")[["sequence", "metric"]])
    for column in ("from_sequence", "to_sequence"):
        named = pd.MultiIndex.from_frame(published[[column, "metric"]])
        for index in published.index[~named.isin(known)]:
            name, metric = named[index]
            problem = f"{name!r} has no score of {metric!r} in opseq_scores.csv"
            refuse(Path(folder) / "opseq_published_changes.csv", index + 2, column, problem)
    return OrderStudy(sequences, scores, published)


def scores_of(sequences: pd.DataFrame) -> pd.DataFrame:
    """Frame of scores by sequence and metric, with binomial standard errors if they are known."""
    scores = sequences.melt(["sequence", "applicable"], METRICS, "metric", "score")
    order = scores["sequence"].map(list(sequences["sequence"]).index)
    scores = scores.loc[order.sort_values(kind="stable").index].reset_index(drop=True)
    return scores.assign(
        stderr=[stderr(*pair) for pair in zip(scores["metric"], scores["score"], strict=True)],
        status=np.where(scores["applicable"], "ok", "not_applicable"),
        reason=np.where(scores["applicable"], "", NOT_APPLICABLE),
    ).drop(columns="applicable")


def stderr(metric: str, score: float) -> float:
    """Binomial standard error of a score, in percent; NaN for an unknown number of questions."""
    return percent_stderr(score, SUBJECTS[metric]) if metric in SUBJECTS else float("nan")
