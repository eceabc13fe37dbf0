"""The published order study: every change recomputed from the scores, and what order itself changes.

P is pruning, Q quantization, F fine-tuning; a sequence joins them by ">", "dense" is the original.
Scores are percentages, printed with two decimals.
"""

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.data.published import FOLDER
from meltpoint.data.published.frames import read

HEADS = {"lawbench": "LawBench", "stem": "MMLU STEM", "mmlu_law": "MMLU law"}
METRICS = tuple(HEADS)
TABLES = (
    "sequence_vs_original",
    "fine_tuning_comparison",
    "pruning_comparison",
    "quantization_comparison",
)
HALF = 0.005  # Two printed decimals.
NOT_APPLICABLE = (
    "not applicable; the source gives no reason: its scripts try to merge a LoRA adapter into 4-bit "
    "AWQ weights, which cannot be done, and it has no 16-bit model with the same layers"
)
# Questions of each MMLU subject (Hendrycks et al. 2021), in the subjects' alphabetical order; a
# score is the plain mean of its subjects. LawBench's numbers of questions are not published.
SUBJECTS = {
    "stem": (
        *(100, 135, 152, 144, 100, 100, 100, 102, 100, 235),
        *(145, 378, 310, 203, 100, 270, 151, 216, 112),
    ),
    "mmlu_law": (121, 1534),
}


def read_study(folder: Path = FOLDER) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The published changes and the scores.

    Raises MeltpointError for an applicable sequence without a score, an unknown table, a change of a
    sequence that has no score.
    """
    published, scores = read("opseq_published_changes", folder), read("opseq_scores", folder)
    for metric in METRICS:
        for line in scores.index[scores["applicable"] & scores[metric].isna()]:
            fail("opseq_scores", line, metric, "is empty, but the sequence is applicable")
    for line in published.index[~published["table"].isin(TABLES)]:
        fail("opseq_published_changes", line, "table", f"is none of {', '.join(TABLES)}")
    known = long(scores).index
    for column in ("from_sequence", "to_sequence"):
        named = pd.MultiIndex.from_frame(published[[column, "metric"]])
        for line in published.index[~named.isin(known)]:
            name, metric = named[line]
            problem = f"{name!r} has no score of {metric!r} in opseq_scores.csv"
            fail("opseq_published_changes", line, column, problem)
    return published, scores


def recompute(published: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The published changes in their order, each beside the change of the scores.

    `agrees`: some scores that print as these do have a percentage that prints as the published one.
    `agreement`: "printed" (the printed scores' own percentage), "rounding" or "no"; `note` says what
    a wrong percentage would fit.
    """
    first, second = (scores_of(published, scores, end) for end in ("from", "to"))
    same = (published["from_sequence"] == published["to_sequence"]).to_numpy()
    low, high = percentages(first, second, same)
    changes = published[["table", "from_sequence", "to_sequence", "metric"]].copy()
    changes["change_abs"] = np.round(second - first, 2)
    changes["change_pct"] = np.round(100 * (second - first) / first, 6)
    changes["published_change_abs"] = published["change_abs"]
    changes["published_change_pct"] = printed = published["change_pct"]
    changes["agrees"] = (low <= printed + HALF) & (printed - HALF <= high)
    exact = (changes["change_pct"] - printed).abs() <= HALF + 1e-9
    changes["agreement"] = np.select([exact, changes["agrees"]], ["printed", "rounding"], "no")
    changes["note"] = [
        "" if row.agrees else explain(row, scores) for row in changes.itertuples(index=False)
    ]
    return changes


def scores_of(published: pd.DataFrame, scores: pd.DataFrame, end: str) -> np.ndarray:
    """The score that each change starts ("from") or ends ("to") at."""
    ends = pd.MultiIndex.from_frame(published[[f"{end}_sequence", "metric"]])
    return long(scores).reindex(ends).to_numpy()


def long(scores: pd.DataFrame) -> pd.Series:
    """The scores that there are, by sequence and metric."""
    melted = scores.melt("sequence", METRICS, "metric", "score").dropna(subset="score")
    return melted.set_index(["sequence", "metric"])["score"]


def percentages(first, second, same=False) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest percentage that scores which print as these can differ by."""
    low = 100 * ((second - HALF) / (first + HALF) - 1)
    high = 100 * ((second + HALF) / (first - HALF) - 1)
    return np.where(same, 0, low), np.where(same, 0, high)


def explain(row, scores: pd.DataFrame) -> str:
    """What a wrong percentage would fit: another base, or another score."""
    known = scores.set_index("sequence")[row.metric].dropna()
    low, high = percentages(known, known[row.to_sequence])
    for base in known.index[(low <= row.published_change_pct) & (row.published_change_pct <= high)]:
        return f"is the change from {base}, not from {row.from_sequence}"
    fitting = known[row.from_sequence] * (1 + row.published_change_pct / 100)
    return f"would fit a score of {fitting:.2f} instead of {known[row.to_sequence]:.2f}"


def stderr(metric: str, score) -> np.ndarray:
    """Binomial standard error of a score in percent, as if its subjects had one rate; else NaN."""
    if metric not in SUBJECTS:
        return np.full(np.shape(score), np.nan)
    rate, sizes = np.asarray(score) / 100, np.asarray(SUBJECTS[metric])
    return 100 * np.sqrt(rate * (1 - rate) * (1 / sizes).sum()) / len(sizes)


def relative_stderr(metric: str, first, second) -> np.ndarray:
    """Standard error of a change in percent of `first`, the scores' errors taken as independent."""
    relative = [stderr(metric, score) / np.asarray(score) for score in (first, second)]
    return 100 * np.asarray(second) / first * np.hypot(*relative)


def order_effect(scores: pd.DataFrame) -> pd.DataFrame:
    """Orders of the same operations against each other: one row per pair and metric.

    Pairs of two steps, then those of three: where neighbouring operations swap (`swapped`), and the
    others that were evaluated. `difference` is second less first; `stderr` that of the difference,
    where the number of questions is known; a pair without scores has its `reason`.
    """
    known = scores.set_index("sequence")
    rows = [
        compare(known, first, second, metric)
        for first, second in pairs(known)
        for metric in METRICS
    ]
    return pd.DataFrame(rows)


def pairs(known: pd.DataFrame) -> list[tuple[str, str]]:
    """Two-step orders, neighbours' swaps in three steps, the other pairs that were evaluated."""
    two = [(f"{a}>{b}", f"{b}>{a}") for a, b in (("P", "Q"), ("P", "F"), ("Q", "F"))]
    three = list(combinations([">".join(order) for order in permutations("PQF")], 2))
    near = [pair for pair in three if swapped(*pair)]
    rest = [p for p in three if p not in near and known.loc[list(p), "applicable"].all()]
    near.sort(key=lambda pair: not known.loc[list(pair), "applicable"].all())
    return [*two, *near, *rest]


def swapped(first: str, second: str) -> str:
    """The neighbouring operations whose swap makes one order of the other; "" if none does."""
    a, b = first.split(">"), second.split(">")
    differing = [i for i in range(len(a)) if a[i] != b[i]]
    if len(differing) == 2 and differing[1] == differing[0] + 1:
        return " and ".join(a[i] for i in differing)
    return ""


def compare(known: pd.DataFrame, first: str, second: str, metric: str) -> dict:
    a, b = known.loc[first, metric], known.loc[second, metric]
    missing = [name for name in (first, second) if not known.loc[name, "applicable"]]
    return {
        **{"first": first, "second": second, "steps": first.count(">") + 1},
        **{"swapped": swapped(first, second), "metric": metric},
        **{"score_first": a, "score_second": b, "difference": round(b - a, 2)},
        "stderr": float(np.hypot(stderr(metric, a), stderr(metric, b))),
        "status": "not_applicable" if missing else "ok",
        "reason": NOT_APPLICABLE if missing else "",
    }
