"""Phase figures of the published curves, drawn as the figures of a study are."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from meltpoint.data.published.frames import read
from meltpoint.figures import curves
from meltpoint.published.phase_transitions import frames

SPEC = curves.Spec(source="published", value=frames.EVALUATION, fit="transition", width=4.6)


def phase(family: str, transitions: pd.DataFrame) -> Figure:
    """The points, fits and transition points of a family; `transitions` as the CSV holds them."""
    points = frames.figure_points()
    figure = curves.draw(points[points["kind"] == family], curves_of(family, transitions), SPEC)
    span = read("mpt_phase_ranges").set_index("family").loc[family]
    figure.axes[1].axvspan(span["low"], span["high"], color="#EFEFEF", linewidth=0, zorder=0)
    return figure


def curves_of(family: str, transitions: pd.DataFrame) -> pd.DataFrame:
    """Rows of the published form as `fit_curves` gives them."""
    same = {"form": "power law", "ppl0": np.nan, "settings": ""}
    own = transitions[transitions["family"] == family]
    own = own.rename(columns={"ppl_at_s0": "value_at_s0"})
    return own.assign(**same, model=frames.MODEL, evaluation=frames.EVALUATION)
