"""The forms without a transition, each as a least-squares problem in log perplexity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meltpoint.transitions.forms import GRADUAL, Design, losses, rise, take_dense, with_dense

# Steeper than gradual, yet without a break: what a warning mentions.
BEND = 15.0


@dataclass(frozen=True)
class Stretched:
    """Without a transition: ppl0 exp(a s^alpha) with a >= 0 and alpha within `powers`."""

    dense: float | None = None
    powers: tuple[float, float] = (0.1, GRADUAL)
    name = "smooth"
    transition = False
    searched = False

    @property
    def count(self) -> int:
        """Free parameters, the noise included."""
        return 3 + (self.dense is None)

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grid of the nonlinear parameter: alpha."""
        return [np.geomspace(*self.powers, 60)]

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem at each point of the axes, for sparsities `s` [n]."""
        basis = (s ** axes[0][:, None])[..., None]
        return with_dense(basis, np.zeros((len(axes[0]), 1, len(s))), (0,), self.dense)

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution; s0 is NaN."""
        (a,), ppl0 = take_dense(coefficients, self.dense)
        return {"s0": np.nan, "ppl0": ppl0, "a": a, "alpha": point[0]}


@dataclass(frozen=True)
class Polynomial:
    """Without a transition: ppl0 exp of a polynomial in s; coefficients >= 0 if `monotone`.

    At most cubic, and then monotone: with free signs a cubic imitates a break.
    """

    powers: tuple[int, ...]
    dense: float | None = None
    monotone: bool = True
    name = "smooth"
    transition = False
    searched = False

    @property
    def count(self) -> int:
        """Free parameters, the noise included."""
        return 1 + len(self.powers) + (self.dense is None)

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grid of one point, as all parameters are linear."""
        return [np.zeros(1)]

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem for sparsities `s` [n]."""
        basis = np.stack([s**power for power in self.powers], -1)[None]
        positive = tuple(range(len(self.powers))) if self.monotone else ()
        return with_dense(basis, np.zeros((1, 1, len(s))), positive, self.dense)

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution; s0 is NaN."""
        above, ppl0 = take_dense(coefficients, self.dense)
        by_power = dict(zip(self.powers, above, strict=True))
        cubic = {"a": by_power[3], "alpha": 3.0} if 3 in by_power else {}
        return {"s0": np.nan, "ppl0": ppl0, **cubic, **rise(self.powers, above, 0.0)}


@dataclass(frozen=True)
class Unbroken:
    """Without a transition: ppl0 + a s^alpha over all levels, alpha <= GRADUAL.

    `zero` leaves ppl0 out: the lower branch of the published form.
    """

    dense: float | None = None
    zero: bool = False
    name = "smooth power law"
    transition = False
    searched = False

    @property
    def count(self) -> int:
        """Free parameters, the noise included."""
        return 3 + (self.dense is None and not self.zero)

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Grids of the nonlinear parameters: alpha, the log of the loss, and the last sparsity."""
        if self.zero:
            return [np.zeros(1)]
        scale = y.max() - (y.min() if self.dense is None else np.log(self.dense))
        return [np.linspace(0.05, GRADUAL, 40), losses(3 * scale + 3, 60), s[-1:]]

    def design(self, s: np.ndarray, axes: list[np.ndarray]) -> Design:
        """Least-squares problem at each point of the axes, for sparsities `s` [n]."""
        if self.zero:
            basis = np.stack([np.ones_like(s), np.log(s)], -1)[None]
            return Design(basis, np.zeros((1, 1, len(s))), (1,))
        alpha, u = axes[0][:, None, None], np.exp(axes[1])[:, None]
        basis = np.zeros((len(axes[0]), len(s), 0))
        offset = np.log1p(np.expm1(u) * (s / s[-1]) ** alpha)
        return with_dense(basis, offset, (), self.dense)

    def parameters(self, point: Sequence[float], coefficients: np.ndarray) -> dict[str, float]:
        """Named parameters of a solution; s0 is NaN."""
        if self.zero:
            return {
                "s0": np.nan,
                "ppl0": 0.0,
                "a": np.exp(coefficients[0]),
                "alpha": coefficients[1],
            }
        ppl0, (alpha, loss, last) = take_dense(coefficients, self.dense)[1], point
        a = ppl0 * np.expm1(np.exp(loss)) / last**alpha
        return {"s0": np.nan, "ppl0": ppl0, "a": a, "alpha": alpha}
