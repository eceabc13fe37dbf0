"""The forms of accuracy: the share r of the dense model's advantage over chance that is left.

r is 1 for the dense model and 0 at chance. Up to s0 there is no loss, or a gradual one, `1 - a s`.
Beyond s0 accuracy falls linearly or exponentially, down to chance. Smooth curves lose as `s^alpha` with
alpha at most `GRADUAL`, as for perplexity. No parameter is linear, because a fall ends at chance, so
all of them are searched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from meltpoint.transitions.forms import GRADUAL, Design, Form, breaks, split

# Bounds of the slope that the fall beyond s0 adds to the slope of the gradual loss at s0.
SLOPES = (0.1, 60.0)
NO_LOSS = np.zeros(1)


@dataclass(frozen=True)
class Fall:
    """Gradual loss up to s0, then a fall: `shape` is "linear" or "exponential".

    `gradual` False: there is no loss before s0. The slope does not fall at s0.
    """

    shape: str
    gradual: bool
    # A level beyond s0 is needed for the slope of the fall.
    powers = (1,)
    transition = True
    searched = True

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"{self.shape} fall"

    @property
    def count(self) -> int:
        """Free parameters, the noise included."""
        return 4 if self.gradual else 3

    @property
    def nested(self) -> tuple[Form, ...]:
        """The forms that an interval of s0 is taken over: without and with a gradual loss."""
        return tuple(Fall(self.shape, gradual) for gradual in (False, True))

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grids of s0, of the share that is lost at s0, and of the logarithm of the added slope."""
        lost = np.geomspace(0.005, 0.6, 14) if self.gradual else NO_LOSS
        return [breaks(s, self.powers, 41), lost, np.linspace(*np.log(SLOPES), 20)]

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem at each point of the axes, for sparsities `s` [n]."""
        return nothing_linear(self, s, axes)

    def curves(self, s: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Shares that are left [..., n] at points of the axes [..., 3]."""
        s0, lost, slope = np.moveaxis(points[..., None], -2, 0)
        return fall(self.shape, s, s0, *self.constants(s0, lost, slope))

    def constants(
        self, s0: ArrayLike, lost: ArrayLike, slope: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """a of the gradual loss and beta of the fall, from a point of the axes."""
        a = lost / s0
        tangent = a / (1 - lost) if self.shape == "exponential" else a
        return a, tangent + np.exp(slope)

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution."""
        a, beta = self.constants(*point)
        return {"s0": point[0], **({"a": a, "alpha": 1.0} if self.gradual else {}), "beta": beta}

    def half(self, points: np.ndarray) -> np.ndarray:
        """Sparsities at which half of the advantage is left, for points of the axes [B, 3]."""
        s0, lost, _ = points.T
        a, beta = self.constants(*points.T)
        left = 1 - lost
        beyond = np.log(2 * left) if self.shape == "exponential" else left - 0.5
        early = np.divide(0.5, a, out=np.full_like(a, np.inf), where=a > 0)
        return np.where(left > 0.5, s0 + beyond / beta, early)


@dataclass(frozen=True)
class Fade:
    """Without a transition: "smooth sigmoid" 1 / (1 + a s^alpha), or "smooth loss" 1 - a s^alpha.

    alpha is at most `steepest`. The axes hold alpha and the sparsity at which half is left.
    """

    name: str
    steepest: float = GRADUAL
    powers = ()
    transition = False
    searched = True
    count = 3

    @property
    def nested(self) -> tuple[Form, ...]:
        """The form itself."""
        return (self,)

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grids of alpha, and of the logarithm of the sparsity at which half is left."""
        return [np.geomspace(0.3, self.steepest, 24), np.log(np.geomspace(s[0], 20, 80))]

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem at each point of the axes, for sparsities `s` [n]."""
        return nothing_linear(self, s, axes)

    def curves(self, s: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Shares that are left [..., n] at points of the axes [..., 2]."""
        alpha, half = np.moveaxis(points[..., None], -2, 0)
        return fade(self.name, s, self.constant(alpha, half), alpha)

    def constant(self, alpha: ArrayLike, half: ArrayLike) -> np.ndarray:
        """a from a point of the axes: alpha, and the sparsity at which half is left."""
        loss = 1.0 if self.name == "smooth sigmoid" else 0.5
        return loss * np.exp(-np.multiply(alpha, half))

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution; s0 is NaN."""
        return {"s0": np.nan, "a": self.constant(*point), "alpha": point[0]}

    def half(self, points: np.ndarray) -> np.ndarray:
        """Sparsities at which half of the advantage is left, for points of the axes [B, 2]."""
        return np.exp(points[:, 1])


def nothing_linear(form: Fall | Fade, s: np.ndarray, axes: list[np.ndarray]) -> Design:
    """Design whose offsets are the form's curves at all points of the axes."""
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    offset = form.curves(s, grid.reshape(len(axes[0]), -1, len(axes)))
    return Design(np.zeros((len(axes[0]), len(s), 0)), offset)


def fall(shape: str, s: ArrayLike, s0: ArrayLike, a: ArrayLike, beta: ArrayLike) -> np.ndarray:
    """Share that is left at sparsities s of a curve with a fall beyond s0."""
    below, h = split(np.asarray(s, float), np.asarray(s0, float))
    gradual = 1 - a * below
    left = gradual * np.exp(-beta * h) if shape == "exponential" else gradual - beta * h
    return np.maximum(left, 0)


def fade(name: str, s: ArrayLike, a: ArrayLike, alpha: ArrayLike) -> np.ndarray:
    """Share that is left at sparsities s of a curve without a transition."""
    lost = a * np.asarray(s, float) ** alpha
    return 1 / (1 + lost) if name == "smooth sigmoid" else np.maximum(1 - lost, 0)


def share_left(
    form: str, s: ArrayLike, s0: float, a: float, alpha: float, beta: float
) -> np.ndarray:
    """Share that is left at sparsities s of a form by its name; parameters that it lacks are NaN."""
    if form.startswith("smooth"):
        return fade(form, s, a, alpha)
    return fall(form.removesuffix(" fall"), s, s0, np.nan_to_num(a), beta)
