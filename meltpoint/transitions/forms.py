"""The forms with a transition, each as a least-squares problem in log perplexity.

Given s0 (and, with a dense limit, the shape below it) every form is linear in its other parameters. A
fit is a search over a grid with an exact solution at each point, so it has no local minima.

The published form is that of the "Model Phase Transitions" figures (`mpt_phase_points.csv`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

# A loss is quadratic in a small perturbation (LeCun et al. 1990, Optimal Brain Damage), and the
# energy of the smallest fraction s of weights grows as s to s^3 (any density finite at zero).
# A log perplexity that grows no faster than s^3 is therefore gradual; only a faster one is collapse.
GRADUAL = 3.0
# Powers of s - s0 above a transition, with coefficients of at least 0.
CHOICES = ((1,), (2,), (1, 2))
PARAMETERS = ("ppl0", "a", "alpha", "beta", "gamma")


@dataclass(frozen=True)
class Design:
    """Least-squares problems at J values of the first axis and M shapes of the others, n points.

    `basis` [J, n, p] @ c + `offset` [J, M, n] is the log perplexity; a solution c counts where its
    coefficients `positive` (indices) are not negative.
    """

    basis: np.ndarray
    offset: np.ndarray
    positive: tuple[int, ...] = ()


class Form(Protocol):
    """A form that curves are fitted with."""

    name: str
    transition: bool
    powers: tuple[float, ...]
    # True if no parameter is linear: a coarse grid alone would then miss the least squares.
    searched: bool

    @property
    def count(self) -> int:
        """Free parameters, the noise included."""

    @property
    def nested(self) -> tuple["Form", ...]:
        """The forms that an interval of s0 is taken over; only of a form with a transition."""

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grids of the nonlinear parameters for sparsities `s` and log perplexities `y`, each [n]."""

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem at each point of the axes, for sparsities `s` [n]."""

    def curves(self, s: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Fitted values [..., n] at points of the axes [..., axes]; only of a form that is searched."""

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution."""


@dataclass(frozen=True)
class PowerLaw:
    """The published form: a s^alpha up to s0, a s0^alpha exp(beta h + gamma h^2) above, h = s - s0.

    The slope of the logarithm does not fall at s0: the curve above is the tangent at s0 plus
    `powers` of h with coefficients >= 0: (1,) the published form without gamma, (1, 2) with it.
    """

    powers: tuple[int, ...]
    name = "power law"
    transition = True
    searched = False

    @property
    def count(self) -> int:
        """Free parameters, the noise included."""
        return 4 + len(self.powers)

    @property
    def nested(self) -> tuple[Form, ...]:
        """The forms that an interval of s0 is taken over: each choice of powers."""
        return tuple(replace(self, powers=powers) for powers in CHOICES)

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grids of the nonlinear parameters: s0."""
        return [breaks(s, self.powers, 121)]

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem at each point of the axes, for sparsities `s` [n]."""
        s0 = axes[0][:, None]
        below, h = split(s, s0)
        basis = [np.ones_like(h), np.log(below) + h / s0, *(h**power for power in self.powers)]
        offset = np.zeros((len(s0), 1, len(s)))
        return Design(np.stack(basis, -1), offset, tuple(range(2, len(basis))))

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution."""
        (s0,), (log_a, alpha, *above) = point, coefficients
        rises = rise(self.powers, above, alpha / s0)
        return {"s0": s0, "a": np.exp(log_a), "alpha": alpha, **rises}


@dataclass(frozen=True)
class DenseLimit:
    """ppl0 + a s^alpha up to s0, the exponential of `PowerLaw` above; alpha <= GRADUAL.

    A known dense perplexity is ppl0 itself, a condition rather than a point, so that all forms are
    compared on the same points; otherwise ppl0 is fitted. The shape below s0 is searched by
    log u, u = log(1 + a s0^alpha / ppl0): the loss in log perplexity when the collapse begins.
    """

    powers: tuple[int, ...]
    dense: float | None = None
    name = "dense limit"
    transition = True
    searched = False

    @property
    def count(self) -> int:
        """Free parameters, the noise included."""
        return 4 + len(self.powers) + (self.dense is None)

    @property
    def nested(self) -> tuple[Form, ...]:
        """The forms that an interval of s0 is taken over: each choice of powers."""
        return tuple(replace(self, powers=powers) for powers in CHOICES)

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grids of the nonlinear parameters: s0, the log of the loss at s0, and alpha."""
        scale = y.max() - (y.min() if self.dense is None else np.log(self.dense))
        return [breaks(s, self.powers, 41), losses(scale, 16), np.linspace(0.25, GRADUAL, 9)]

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem at each point of the axes, for sparsities `s` [n]."""
        s0 = axes[0][:, None]
        loss, alpha = (axis.ravel() for axis in np.meshgrid(*axes[1:], indexing="ij"))
        u = np.exp(loss)
        below, h = split(s, s0)
        ratio, slope = np.expm1(u) / s0**alpha, alpha / s0 * -np.expm1(-u)
        offset = np.log1p(ratio[..., None] * below[:, None] ** alpha[:, None])
        offset += slope[..., None] * h[:, None]
        basis = np.stack([h**power for power in self.powers], -1)
        return with_dense(basis, offset, tuple(range(len(self.powers))), self.dense)

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution."""
        s0, loss, alpha = point
        above, ppl0 = take_dense(coefficients, self.dense)
        u = np.exp(loss)
        rises = rise(self.powers, above, alpha / s0 * -np.expm1(-u))
        return {"s0": s0, "ppl0": ppl0, "a": ppl0 * np.expm1(u) / s0**alpha, "alpha": alpha} | rises


def evaluate(
    form: str,
    s: ArrayLike,
    s0: float,
    ppl0: float,
    a: float,
    alpha: float,
    beta: float,
    gamma: float,
) -> np.ndarray:
    """Perplexity of a curve at sparsities `s`; parameters that a form lacks are NaN.

    At s = 0 the power law, which has no dense limit, gives 0.
    """
    s = np.asarray(s, float)
    a, alpha, beta, gamma = np.nan_to_num([a, alpha, beta, gamma])
    if form == "smooth":
        return ppl0 * np.exp(a * s**alpha + beta * s + gamma * s**2)
    if form == "smooth power law":
        return ppl0 + a * s**alpha
    below, h = np.minimum(s, s0), np.maximum(s - s0, 0)
    start = a * below**alpha + (ppl0 if form == "dense limit" else 0)
    return start * np.exp(beta * h + gamma * h**2)


def breaks(s: np.ndarray, powers: tuple[int, ...], number: int) -> np.ndarray:
    """Candidates of s0, [number]: two levels or more below each, a level above for each power."""
    return np.linspace(s[1], s[-1 - len(powers)], number)


def losses(largest: float, number: int) -> np.ndarray:
    """Logarithms of losses in log perplexity, [number], from 0.3 % of the largest to the largest."""
    return np.log(max(largest, 1e-3)) + np.linspace(np.log(0.003), 0, number)


def split(s: np.ndarray, s0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """min(s, s0) and max(s - s0, 0): each [J, n]."""
    return np.minimum(s, s0), np.maximum(s - s0, 0)


def with_dense(
    basis: np.ndarray, offset: np.ndarray, positive: tuple[int, ...], dense: float | None
) -> Design:
    """Adds log ppl0 to a design: to the offset if the dense perplexity is known, else as a column."""
    if dense is not None:
        return Design(basis, offset + np.log(dense), positive)
    ones = np.ones((*basis.shape[:-1], 1))
    return Design(np.concatenate([basis, ones], -1), offset, positive)


def take_dense(coefficients: np.ndarray, dense: float | None) -> tuple[np.ndarray, float]:
    """The coefficients without log ppl0, and ppl0."""
    if dense is not None:
        return coefficients, dense
    return coefficients[:-1], float(np.exp(coefficients[-1]))


def rise(powers: tuple[int, ...], above: Sequence[float], tangent: float) -> dict[str, float]:
    """beta and gamma above s0, from the coefficients that `powers` add to the tangent at s0."""
    added = dict(zip(powers, above, strict=True))
    return {"beta": tangent + added.get(1, 0.0), "gamma": added.get(2, 0.0)}
