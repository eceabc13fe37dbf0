"""All figures of the parameter search."""

import pandas as pd
from matplotlib.figure import Figure

from meltpoint.figures.heatmap_panels import Heatmap, draw_heatmap
from meltpoint.published.parameter_search.dependence import draw_dependence
from meltpoint.published.parameter_search.read import SEARCH
from meltpoint.published.parameter_search.scatter import draw_gradients, draw_tradeoff
from meltpoint.published.specs import StudySpec

GRID = {
    **{"rows": "model", "columns": SEARCH.method, "x": SEARCH.settings[0], "y": SEARCH.settings[1]},
    **{"x_label": "calibration length (tokens)", "y_label": "samples"},
}
ACCURACY = Heatmap("percent", "mean accuracy (%)", **GRID)
PERPLEXITY = Heatmap("ppl", "perplexity", **GRID, colors="cividis_r", logarithmic=True, best="min")


def figures(
    spec: StudySpec, runs: pd.DataFrame, noise: dict[str, pd.DataFrame]
) -> dict[str, Figure]:
    """Figures by name; runs: with their `stderr`, noise: results of the analyses by name."""
    stderr = noise["noise_floor"].set_index("model")["stderr"]
    in_percent = runs.assign(percent=100 * runs["acc_mean"])
    return {
        "search_heatmap_accuracy": draw_heatmap(in_percent, ACCURACY),
        "search_heatmap_perplexity": draw_heatmap(runs, PERPLEXITY),
        "search_tradeoff": draw_tradeoff(runs),
        "search_dependence": draw_dependence(noise["partial_dependence"], stderr),
        "search_gradients": draw_gradients(spec, runs),
    }
