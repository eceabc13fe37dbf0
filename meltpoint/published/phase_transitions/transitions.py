"""The transition points of the published curves: the published ones, ours, and why they differ.

The published form (a power law, then an exponential) gives `s0`, which can be compared with the
published one. `form` is the best of all forms on the same points.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from meltpoint.data.published.frames import read
from meltpoint.published.phase_transitions import frames
from meltpoint.published.phase_transitions.discrepancies import NEAR, explain
from meltpoint.transitions.fit import FORMS, PUBLISHED_FORM, fit_curves

CURVE = ("family", "method")
FITTED = ("s0", "s0_low", "s0_high", "a", "alpha", "beta", "gamma", "ppl_at_s0", "rmse_log")
COLUMNS = [
    *(*CURVE, "s0_published", "s0", "s0_low", "s0_high", "form", "warning", "difference"),
    *("within", "note", "points", *FITTED[3:], "p_smooth", "transition"),
    *("s0_free", "s0_free_low", "s0_free_high", "warning_free"),
]


def stars() -> pd.DataFrame:
    """The published curves with their parameters, one row each.

    The other two rows of the table give in the text what the stars of the same curves show.
    """
    return read("mpt_phase_points").query("obtained == 'digitised'").reset_index(drop=True)


def fit_both(
    frame: pd.DataFrame, group: Sequence[str] = ("method",), draws: int = 300
) -> pd.DataFrame:
    """One row for each curve: the fit of the published form, and the best of all forms.

    Every curve has an s0 with its interval, even if `form` is a smooth one. Then the points do not
    support a transition, and s0 is that of the best curve with two regimes.
    """
    fitted = fit_curves(frame, group, PUBLISHED_FORM, draws=draws)
    fitted = fitted.rename(columns={"value_at_s0": "ppl_at_s0"})
    free = fit_curves(frame, group, FORMS, draws=draws)
    fitted = fitted.assign(form=free["form"], p_smooth=free["p_smooth"])
    fitted["transition"] = free["s0"].notna()
    fitted["s0_free"], fitted["warning_free"] = free["s0"], free["warning"]
    fitted["s0_free_low"], fitted["s0_free_high"] = free["s0_low"], free["s0_high"]
    smooth = "no transition supported: a smooth curve will do; "
    fitted["warning"] = fitted["warning"].where(fitted["transition"], smooth + fitted["warning"])
    return fitted.assign(warning=fitted["warning"].str.removesuffix("; "))


def dense_curves(draws: int = 300) -> pd.DataFrame:
    """The 16 published curves on all points that their figures draw, the columns `COLUMNS`."""
    points, published = frames.figure_points(), stars()
    fitted = fit_both(points, draws=draws).drop(columns="s0_published")
    known = published[[*CURVE, "s0"]].rename(columns={"s0": "s0_published"})
    both = known.merge(fitted, on=list(CURVE), validate="1:1")
    both["difference"] = both["s0"] - both["s0_published"]
    both["within"] = both["difference"].abs() <= NEAR
    parameters = published.set_index("method")
    both["note"] = [
        explain(row, parameters.loc[row["method"]], points) for _, row in both.iterrows()
    ]
    return both[COLUMNS]


def sparse_curves(dense: pd.DataFrame, draws: int = 300) -> pd.DataFrame:
    """Curves fitted to the points of Tables 1, 2, 3 and 7: is the s0 of all points inside?"""
    tables = {"Table 1": frames.by_level(1), "Table 2": frames.by_level(2)}
    alone = frames.by_level(3).query("method == 'SparseGPT_owl'")
    tables |= {"Table 3": alone, "Table 7": frames.lowrank().query("evaluation == 'wikitext2'")}
    fitted = pd.concat(
        [fit_both(cells, draws=draws).assign(table=t) for t, cells in tables.items()]
    )
    known = dense[[*CURVE, "s0_published", "s0", "points"]]
    known = known.rename(columns={"s0": "s0_dense", "points": "points_dense"})
    both = known.merge(fitted.drop(columns="s0_published"), on=list(CURVE), validate="1:1")
    both["covers"] = both["s0_dense"].between(both["s0_low"], both["s0_high"])
    columns = ("s0_published", "s0_dense", "s0", "s0_low", "s0_high", "form", "warning", "covers")
    return both[[*CURVE, *columns, "table", "points", "points_dense", "p_smooth", "transition"]]


def other_curves(draws: int = 300) -> pd.DataFrame:
    """Curves of the tables that no figure fits: other methods, PTB, and each quantization."""
    unstructured = frames.by_level(2)
    tables = {
        "Table 2": unstructured[~unstructured["method"].isin(stars()["method"])],
        "Table 3": frames.by_level(3).query("method != 'SparseGPT_owl'"),
        "Table 7": frames.lowrank().query("evaluation == 'ptb'"),
        **{f"Table {number}": frames.combined(number) for number in (8, 9, 10)},
    }
    group = ("method", "settings", "evaluation")
    fit = partial(fit_both, group=group, draws=draws)
    fitted = pd.concat([fit(cells).assign(table=t) for t, cells in tables.items()])
    fitted = fitted[fitted["s0"].notna()].rename(columns={"settings": "quantization"})
    columns = ["table", *CURVE, "quantization", "evaluation", "s0", "s0_low", "s0_high", "form"]
    return fitted[[*columns, "warning", "points", "p_smooth", "transition", "s0_free"]]


def agreement(dense: pd.DataFrame, sparse: pd.DataFrame) -> dict[str, int]:
    """Counts that sum up the agreement of refitted with published transition points."""
    own = sparse["points"] != sparse["points_dense"]
    return {
        "curves": len(dense),
        "within": int(dense["within"].sum()),
        "transitions": int(dense["transition"].sum()),
        "sparse": len(sparse),
        "covered": int(np.sum(sparse["covers"])),
        "sparser": int(own.sum()),
        "sparser_covered": int(sparse.loc[own, "covers"].sum()),
    }
