"""Least squares of forms without a linear parameter, for many curves at once.

The best point of a grid is refined curve by curve: all its neighbours are tried, at a distance that
shrinks where none is better (pattern search, Hooke and Jeeves 1961). On a grid alone, curves that fit
well would look worse than they are, and those of a bootstrap, which fit badly, would not.
"""

import itertools

import numpy as np

from meltpoint.transitions.forms import Form

ROUNDS, SHRINKS = 30, 0.5


def search_all(
    form: Form, s: np.ndarray, y: np.ndarray, scale: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the axes [B, axes] and least RSS [B] of a form for B weighted targets [n, B]."""
    axes = form.axes(s, y)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)
    curves = form.curves(s, grid) * scale
    rss = (curves**2).sum(1)[:, None] - 2 * curves @ targets
    return refine(form, s, scale, targets.T, grid[rss.argmin(0)], axes)


def refine(
    form: Form,
    s: np.ndarray,
    scale: np.ndarray,
    targets: np.ndarray,
    points: np.ndarray,
    axes: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Points [B, axes] and least RSS [B] near the given points, for weighted targets [B, n].

    axes: the grid that the points are of; an axis of one value stays fixed.
    """
    steps = np.array([np.diff(axis).max() if len(axis) > 1 else 0.0 for axis in axes])
    moves = [(-1, 0, 1) if step else (0,) for step in steps]
    neighbours = np.array(list(itertools.product(*moves)), float)
    low, high = (np.array([axis[end] for axis in axes]) for end in (0, -1))
    rows, center = np.arange(len(points)), len(neighbours) // 2
    steps = np.tile(steps, (len(points), 1))
    for _ in range(ROUNDS):
        tried = np.clip(points[:, None] + neighbours * steps[:, None], low, high)
        curves = form.curves(s, tried) * scale
        rss = ((curves - targets[:, None]) ** 2).sum(-1)
        best = rss.argmin(1)
        points = tried[rows, best]
        steps[best == center] *= SHRINKS
    return points, np.maximum(rss[rows, best], 1e-20)
