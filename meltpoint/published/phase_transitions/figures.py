"""Every figure of model phase transitions, by its name."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from meltpoint.figures.style import save
from meltpoint.published.phase_transitions import (
    figures_contour,
    figures_dots,
    figures_gguf,
    figures_phase,
)

DRAWINGS: dict[str, Callable[[dict[str, pd.DataFrame]], Figure]] = {
    "phase_structured": lambda fits: figures_phase.phase("structured", fits["dense"]),
    "phase_unstructured": lambda fits: figures_phase.phase("unstructured", fits["dense"]),
    "phase_lowrank": lambda fits: figures_phase.phase("low-rank", fits["dense"]),
    "patterns": lambda fits: figures_dots.patterns(),
    "gguf_bits": lambda fits: figures_gguf.over_bits(),
    "gguf_size": lambda fits: figures_gguf.over_size(),
    "regimes": lambda fits: figures_dots.regimes(),
    "contour_wanda_gguf": lambda fits: figures_contour.contour(10, fits["other"]),
    "contour_sparsegpt_gptq": lambda fits: figures_contour.contour(9, fits["other"]),
    "contour_asvd_rtn": lambda fits: figures_contour.contour(8, fits["other"]),
}


def save_all(fits: dict[str, pd.DataFrame], folder: Path) -> None:
    """Each figure as {folder}/{name}.svg and .png.

    fits: the transition points that the package's `transitions` has written: those
    of the 16 curves under `dense`, of the others under `other`.
    """
    for name, draw in DRAWINGS.items():
        save(draw(fits), [folder / f"{name}.svg", folder / f"{name}.png"])
