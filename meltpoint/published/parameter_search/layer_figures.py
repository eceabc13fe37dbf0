"""Figures of one run of the parameter search: gradients and what is left, layer by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.figures.style import FAINT, PALETTE, RC

WIDTH = 7.0
ABOVE, BELOW = PALETTE[1], PALETTE[0]


def draw_gradients(layers: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any]) -> Figure:
    """Three panels over the layers: sizes of gradients, their range, and their shape beside pruning.

    layers: statistics of each layer's gradients and the mean importance of its units. The last panel
    scales each to 0 and 1, because their units differ.
    """
    x = np.arange(len(layers))
    values = {key: np.array([layer[f"gradient_{key}"] for layer in layers], float) for key in
              ("mean", "std", "norm", "max", "min")}  # fmt: skip
    with mpl.rc_context(RC):
        figure = Figure((WIDTH, 6.0), layout="constrained")
        sizes, band, shapes = figure.subplots(3, 1, sharex=True)
        for key, color in zip(("mean", "std", "norm"), PALETTE, strict=False):
            sizes.plot(x, values[key], color=color, marker="o", markersize=3, label=key)
        sizes.set_yscale("log")
        sizes.set_ylabel("size of gradients")
        sizes.legend(ncols=3)
        band.fill_between(x, values["min"], values["max"], color=PALETTE[0], alpha=0.25)
        band.plot(x, values["mean"], color=PALETTE[0])
        band.set_ylabel("least to largest")
        draw_shapes(shapes, x, values["mean"], layers, comparison)
        shapes.set_xlabel("layer")
        shapes.set_xticks(x)
    return figure


def draw_shapes(
    ax: Axes,
    x: np.ndarray,
    gradients: np.ndarray,
    layers: Sequence[Mapping[str, Any]],
    comparison: Mapping[str, Any],
) -> None:
    """Mean gradients, mean importances of the MLP's channels, and the part of the MLP that goes."""
    importances = np.array([layer["importance_mlp"] or np.nan for layer in layers], float)
    pruned = np.array([layer["mlp"]["reduction_ratio"] for layer in comparison["layers"]])
    ax.plot(x, scaled(gradients), color=PALETTE[0], marker="o", markersize=3, label="gradient")
    ax.plot(x, scaled(importances), color=PALETTE[2], marker="s", markersize=3, label="importance")
    ax.plot(x, pruned, color=PALETTE[1], marker="^", markersize=3, label="MLP pruned")
    ax.set_ylabel("0 to 1")
    ax.legend(ncols=3)


def scaled(values: np.ndarray) -> np.ndarray:
    """The values with their least at 0 and their largest at 1; zeros for values that are equal."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def draw_pruned(comparison: Mapping[str, Any], kept: bool = False) -> Figure:
    """A bar for each layer: the part of its parameters that goes or, with `kept`, that stays.

    The dashed line is that of all layers together; layers above and below it have other colours.
    """
    ratios = np.array([layer["total"]["reduction_ratio"] for layer in comparison["layers"]])
    mean = comparison["layer_params"]["reduction_ratio"]
    if kept:
        ratios, mean = 1 - ratios, 1 - mean
    with mpl.rc_context(RC):
        figure = Figure((WIDTH, 2.8), layout="constrained")
        ax = figure.subplots()
        colors = [ABOVE if ratio > mean else BELOW for ratio in ratios]
        ax.bar(np.arange(len(ratios)), 100 * ratios, color=colors)
        ax.axhline(100 * mean, color=FAINT, linestyle="--", label=f"all layers: {100 * mean:.1f} %")
        ax.set_ylim(0, 105)
        ax.set_xticks(np.arange(len(ratios)))
        ax.set_xlabel("layer")
        ax.set_ylabel(f"parameters {'kept' if kept else 'removed'} (%)")
        ax.legend()
    return figure
