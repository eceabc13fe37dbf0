"""Cells of perplexity with the losses that are kept beside them, from window losses of real cells."""

from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import read_cells
from meltpoint.analysis.samples import with_samples
from meltpoint.chain import methods_of, parse_chain, settings_of
from meltpoint.evaluations import perplexity
from meltpoint.evaluations.cells import Cell, Difference, Score
from meltpoint.evaluations.windows import error_of_mean

# Mean loss of each of 176 windows of 256 tokens, of chains of the default study, float32 by chain.
LOSSES = Path(__file__).parents[1] / "analysis" / "window_losses.npz"
WINDOW = 5


def losses() -> dict[str, np.ndarray]:
    """Window losses of real cells by chain, float64 [176]."""
    with np.load(LOSSES) as file:
        return {chain: file[chain].astype(np.float64) for chain in file.files}


def write(
    results: Path,
    chain: str,
    means: np.ndarray,
    model: str = "demo",
    dense: np.ndarray | None = None,
    calibration: dict | None = None,
    achieved: dict[str, float] | None = None,
    **protocol: object,
) -> Path:
    """Writes a cell whose windows have these mean losses, and returns its path."""
    nll = np.repeat(means[:, None], WINDOW - 1, axis=1).astype(np.float32)
    estimate = perplexity.perplexity(nll)
    difference = None
    if dense is not None:
        base = perplexity.perplexity(np.repeat(dense[:, None], WINDOW - 1, axis=1))
        units = estimate.units - base.units
        difference = Difference(value=estimate.value - base.value, stderr=error_of_mean(units))
    score = Score(
        value=estimate.value,
        stderr=estimate.stderr,
        difference=difference,
        unit="per token",
        better="lower",
    )
    facts = {"perplexity": "docs-test", "scoring": "all", "window": WINDOW, "windows": len(means)}
    facts |= {
        "fidelity": False,
        "dtype": "float32",
        "tokens_hash": "0",
        "engine": "transformers",
        **protocol,
    }
    steps = [{"step": chain, "settings": {"windows": calibration}}] if calibration else []
    cell = Cell(
        **{"model": model, "chain": chain, "evaluation": "ppl", "kind": "perplexity"},
        **{"main": "perplexity", "scores": {"perplexity": score}, "requested": {}},
        **{"protocol": facts, "provenance": {"steps": steps}, "achieved": achieved or {}},
    )
    path = results / "cells" / model / chain / "ppl.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    cell.write(path)
    np.save(path.with_name("ppl.nll.npy"), nll)
    for ending in ("kl", "fidelity"):
        np.save(path.with_name(f"ppl.{ending}.npy"), np.empty(0, np.float32))
    tokens = results / "tokens" / model
    tokens.mkdir(parents=True, exist_ok=True)
    np.save(tokens / "docs-test.ends.npy", 3 * np.arange(1, len(means) * WINDOW + 1))
    return path


def steps(*chains: str) -> dict[str, dict[str, str]]:
    """What the tidy frame says of chains: method, level, settings."""
    described = {}
    for chain in chains:
        parsed = parse_chain(chain)
        levels = "+".join(str(step.level) for step in parsed if step.level is not None)
        names = {"method": methods_of(parsed), "settings": settings_of(parsed)}
        described[chain] = {**names, "level": levels, "kind": "x"}
    return described


def frame(*paths: Path) -> pd.DataFrame:
    """The tidy frame of cells, with samples."""
    chains = [path.parent.name for path in paths if path.parent.name != "dense"]
    return with_samples(read_cells(paths, steps(*chains)), paths)
