"""Fits a form by a search over its grid, and finds an interval of s0 by profile and bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from meltpoint.transitions.forms import Design, Form
from meltpoint.transitions.searches import search_all

MINIMUM = 6


@dataclass(frozen=True)
class Fit:
    """A fitted form: `point` on its axes, linear `coefficients`, fitted log perplexities [n]."""

    form: Form
    point: tuple[float, ...]
    coefficients: np.ndarray
    fitted: np.ndarray
    rss: float
    aicc: float

    @property
    def s0(self) -> float:
        """The sparsity at which gradual loss turns into collapse; NaN for a smooth form."""
        return self.parameters["s0"]

    @property
    def parameters(self) -> dict[str, float]:
        """Named parameters of the fitted form."""
        return self.form.parameters(self.point, self.coefficients)


def fit(form: Form, s: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Fit | None:
    """The weighted least-squares fit, or None where no solution keeps the form's signs or
    there are fewer than `MINIMUM` points.

    s, y, weights: sparsity (ascending), log perplexity and relative weight of n points.
    """
    if len(s) < MINIMUM:
        return None
    scale = np.sqrt(weights)
    if form.searched:
        points, rss = search_all(form, s, y, scale, (y * scale)[:, None])
        error = max(float(rss[0]), 1e-20)
        fitted = form.curves(s, points[0])
        nothing = np.zeros(0)
        return Fit(form, tuple(points[0]), nothing, fitted, error, aicc(error, len(s), form.count))
    # Twice as fine as for the many targets of a bootstrap: this one has to find the global minimum.
    axes = [np.linspace(axis[0], axis[-1], 2 * len(axis) - 1) for axis in form.axes(s, y)]
    limits = [(axis[0], axis[-1]) for axis in axes]
    best = search(form, s, scale, y, axes)
    for _ in range(6):
        if best is None:
            return None
        axes = [closer(a, x, lim) for a, x, lim in zip(axes, best.point, limits, strict=True)]
        best = min(best, search(form, s, scale, y, axes) or best, key=lambda f: f.rss)
    return best


def closer(axis: np.ndarray, x: float, limits: tuple[float, float]) -> np.ndarray:
    """A finer axis, two steps of the old one to both sides of x."""
    if len(axis) == 1:
        return axis
    step = 2 * np.diff(axis).max()
    return np.unique(np.clip(np.linspace(x - step, x + step, 13), *limits))


def search(
    form: Form, s: np.ndarray, scale: np.ndarray, y: np.ndarray, axes: list[np.ndarray]
) -> Fit | None:
    """The best fit on the grid of `axes`; None if no point keeps the signs of the form."""
    design = whiten(form.design(s, axes), scale)
    target = y * scale
    rss = squares(design, target[:, None])[..., 0]
    j, m = np.unravel_index(rss.argmin(), rss.shape)
    if not np.isfinite(rss[j, m]):
        return None
    basis, offset = design.basis[j], design.offset[j, m]
    coefficients = np.linalg.lstsq(basis, target - offset, rcond=None)[0]
    fitted = offset + basis @ coefficients
    error = max(float(((target - fitted) ** 2).sum()), 1e-20)
    point = (axes[0][j], *(axis.ravel()[m] for axis in np.meshgrid(*axes[1:], indexing="ij")))
    return Fit(form, point, coefficients, fitted / scale, error, aicc(error, len(s), form.count))


def whiten(design: Design, scale: np.ndarray) -> Design:
    """The design with each point multiplied by `scale` [n], the root of its weight."""
    return replace(design, basis=design.basis * scale[:, None], offset=design.offset * scale)


def squares(design: Design, targets: np.ndarray) -> np.ndarray:
    """Residual sums of squares [J, M, B] of B targets [n, B]; inf where a sign is broken.

    The residual of target - offset is projected off the basis once per grid point, so that all
    targets share one matrix product.
    """
    q = np.linalg.qr(design.basis)[0]
    projected = design.offset - design.offset @ q @ q.swapaxes(1, 2)
    inside = (targets**2).sum(0) - ((q.swapaxes(1, 2) @ targets) ** 2).sum(1)
    own = (projected * design.offset).sum(-1, keepdims=True)
    ones = np.ones((1, targets.shape[1]))
    rss = np.concatenate([-2 * projected, own], -1) @ np.concatenate([targets, ones])
    rss += inside[:, None]
    for solve in np.linalg.pinv(design.basis)[:, design.positive].swapaxes(0, 1):
        values, shares = solve @ targets, design.offset @ solve[..., None]
        np.copyto(rss, np.inf, where=values[:, None] < shares)
    return np.maximum(rss, 1e-20, out=rss)


def aicc(rss: float, n: int, k: int) -> float:
    """Akaike's criterion for small samples (Hurvich and Tsai 1989); inf where n <= k + 1."""
    if n <= k + 1:
        return np.inf
    return float(n * np.log(rss / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def smooth_p(
    smooth: Fit,
    null: Sequence[Form],
    broken: Sequence[Form],
    s: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    draws: int = 300,
    seed: int = 0,
) -> float:
    """p value of the hypothesis that the points come from a smooth curve.

    It comes from a parametric bootstrap, as s0 has no meaning under the null (Davies 1987): curves are
    drawn from the smooth fit. The statistic is the gain in log RSS of the `broken` over the `null`
    forms.
    """
    scale, rng = np.sqrt(weights), np.random.default_rng(seed)
    sigma = np.sqrt(smooth.rss / max(len(s) - smooth.form.count + 1, 1))
    samples = (smooth.fitted * scale)[:, None] + rng.normal(0, sigma, (len(s), draws))
    targets = np.column_stack([samples, y * scale])
    gain = np.log(least_squares(null, s, y, scale, targets))
    gain -= np.log(least_squares(broken, s, y, scale, targets))
    return float((1 + (gain[:-1] >= gain[-1]).sum()) / (draws + 1))


def least_squares(
    forms: Sequence[Form], s: np.ndarray, y: np.ndarray, scale: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """The least RSS [B] of B targets over the grids of the forms that n points can hold."""
    usable = [form for form in forms if form.count <= len(s)]
    linear = (form for form in usable if not form.searched)
    designs = (whiten(form.design(s, form.axes(s, y)), scale) for form in linear)
    rss = [squares(design, targets).min((0, 1)) for design in designs]
    rss += [search_all(form, s, y, scale, targets)[1] for form in usable if form.searched]
    return np.min(rss, axis=0)


def interval(
    best: Fit,
    s: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    draws: int = 300,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Confidence interval (low, high) of s0: a profile calibrated by the residual bootstrap.

    s0 is inside where log RSS(s0) - log min RSS is at most the `level` quantile of the same
    statistic over bootstrap curves drawn at the fit; the percentiles of their s0 are inside too.
    RSS is that of the form with gamma >= 0, also where AICc left gamma out: on few points that
    choice is the correction's, not the data's. Accuracy has forms without and with a gradual loss.
    """
    scale, target = np.sqrt(weights), y * np.sqrt(weights)
    samples = resample(best.fitted * scale, target, best.form.count - 1, draws, seed)
    nested = best.form.nested
    limits = low, high = (s[1], s[-2])
    shape = [None] * len(nested)
    for _ in range(3):
        coarse, fine = np.linspace(*limits, 25), np.linspace(low, high, 41)
        grid = np.unique(np.r_[coarse, fine, best.s0])
        both = np.column_stack([samples, target])
        rss, shape = profile(nested, s, y, scale, grid, both, shape)
        limit = np.quantile(excess(rss[:, :-1], grid.searchsorted(best.s0)), level)
        inside = np.log(rss[:, -1] / min(rss[:, -1].min(), best.rss)) <= limit
        percentiles = np.quantile(grid[rss[:, :-1].argmin(0)], [(1 - level) / 2, (1 + level) / 2])
        ends = np.r_[grid[inside], percentiles, best.s0]
        margin = np.ptp(ends) / 2 + 1e-3
        low, high = np.clip([ends.min() - margin, ends.max() + margin], *limits)
    return float(ends.min()), float(ends.max())


def resample(
    fitted: np.ndarray, target: np.ndarray, parameters: int, draws: int, seed: int
) -> np.ndarray:
    """Bootstrap curves [n, draws]: the fit plus its residuals, drawn anew, at unbiased variance."""
    n = len(target)
    residuals = target - fitted
    residuals = (residuals - residuals.mean()) * np.sqrt(n / max(n - parameters, 1))
    return fitted[:, None] + np.random.default_rng(seed).choice(residuals, (n, draws))


def excess(rss: np.ndarray, index: int) -> np.ndarray:
    """log RSS at the s0 of the fit over the least RSS, per bootstrap curve."""
    at, least = rss[index], rss.min(0)
    usable = np.isfinite(at)
    return np.log(at[usable] / least[usable]) if usable.any() else np.full(1, np.inf)


def profile(
    forms: Sequence[Form],
    s: np.ndarray,
    y: np.ndarray,
    scale: np.ndarray,
    grid: np.ndarray,
    targets: np.ndarray,
    shape: Sequence[list[np.ndarray] | None],
) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """Least RSS [J, B] over the forms at each s0 of the grid, and the narrowed axes of the shape."""
    rss = np.full((len(grid), targets.shape[1]), np.inf)
    narrowed = []
    for form, old in zip(forms, shape, strict=True):
        rest = form.axes(s, y)[1:] if old is None else old
        s0 = grid[grid <= s[-1 - len(form.powers)] + 1e-12]
        all_rss = squares(whiten(form.design(s, [s0, *rest]), scale), targets)
        least = all_rss.min(1)
        rss[: len(s0)] = np.minimum(rss[: len(s0)], least)
        best = all_rss[least.argmin(0), :, range(all_rss.shape[2])].argmin(1)
        narrowed.append(narrow(rest, best))
    return rss, narrowed


def narrow(axes: list[np.ndarray], best: np.ndarray) -> list[np.ndarray]:
    """Axes of the same length over the part that holds the best shapes of the targets [B]."""
    if not axes:
        return axes
    places = np.unravel_index(np.unique(best), [len(axis) for axis in axes])
    return [
        np.linspace(axis[max(at.min() - 1, 0)], axis[min(at.max() + 1, len(axis) - 1)], len(axis))
        for axis, at in zip(axes, places, strict=True)
    ]
