"""Scales: the quantity y in which a curve is fitted, its forms, and the way from y back to a score.

Perplexity is fitted in its logarithm. A KL divergence is a difference of log perplexities, so the laws
of perplexity hold for its exponential, with a dense limit of 1. Accuracy is fitted as the share of the
dense model's advantage over chance that is left (`meltpoint.transitions.falls`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from meltpoint.analysis.curve_scales import scale_name
from meltpoint.transitions.falls import Fade, Fall
from meltpoint.transitions.forms import GRADUAL, DenseLimit, Form, PowerLaw
from meltpoint.transitions.smooth_forms import BEND, Polynomial, Stretched, Unbroken

FORMS = ("power law", "dense limit", "smooth")
FALLS = ("linear fall", "exponential fall", "smooth")
POWERS = ((1,), (1, 2))


class Scale(Protocol):
    """The scale of one curve. y is the quantity that is fitted, such as log perplexity."""

    name: str
    # The score at chance; NaN for a score without one.
    floor: float
    # Names of the forms that compete.
    forms: tuple[str, ...]
    # The noun behind "%" when a residual of y is printed.
    residual: str

    def usable(self, values: np.ndarray) -> np.ndarray:
        """True for the values that can be fitted, bool [levels]."""

    def y(self, values: np.ndarray) -> np.ndarray:
        """y [levels] of a score's values [levels]."""

    def errors(self, values: np.ndarray, stderrs: np.ndarray) -> np.ndarray:
        """Standard errors of y [levels], from those of the values."""

    def units(self, units: np.ndarray) -> np.ndarray:
        """Units [levels, units] whose means, over any choice of units, `resampled` makes y of."""

    def resampled(self, units: np.ndarray, dense: np.ndarray | None, form: Form) -> np.ndarray:
        """y [levels, draws] of means of units over draws; dense: those of the dense model [draws]."""

    def limit(self, dense: float | None) -> float | None:
        """Dense limit of the forms, from the score's dense value; None without one."""

    def value(self, law: np.ndarray) -> np.ndarray:
        """Values of the score, from the values of a form."""


@dataclass(frozen=True)
class LogScale:
    """Log perplexity."""

    name = "log"
    floor = np.nan
    forms = FORMS
    residual = "of perplexity"

    def usable(self, values: np.ndarray) -> np.ndarray:
        """True for finite perplexities above 0."""
        return np.isfinite(values) & (values > 0)

    def y(self, values: np.ndarray) -> np.ndarray:
        """Log perplexity."""
        return np.log(values)

    def errors(self, values: np.ndarray, stderrs: np.ndarray) -> np.ndarray:
        """Standard errors of log perplexity."""
        return stderrs / values

    def units(self, units: np.ndarray) -> np.ndarray:
        """Log perplexity unit by unit: their means are log perplexities."""
        values = units.mean(axis=1, keepdims=True)
        return np.log(values) + units / values - 1

    def resampled(self, units: np.ndarray, dense: np.ndarray | None, form: Form) -> np.ndarray:
        """Log perplexities, less the change of the dense one where that is a condition of the form.

        The form sees only log perplexities less that of dense.
        """
        conditioned = isinstance(form, DenseLimit) and form.dense is not None
        return units - dense if conditioned and dense is not None else units

    def limit(self, dense: float | None) -> float | None:
        """The dense perplexity."""
        return dense

    def value(self, law: np.ndarray) -> np.ndarray:
        """Perplexity: the values of a form as they are."""
        return law


@dataclass(frozen=True)
class NatsScale(LogScale):
    """A divergence from the dense model in nats."""

    name = "nats"
    forms = ("dense limit", "smooth")
    residual = "of the divergence's exponential"

    def usable(self, values: np.ndarray) -> np.ndarray:
        """True for finite divergences."""
        return np.isfinite(values)

    def y(self, values: np.ndarray) -> np.ndarray:
        """The divergence."""
        return values

    def errors(self, values: np.ndarray, stderrs: np.ndarray) -> np.ndarray:
        """Standard errors of the divergence."""
        return stderrs

    def units(self, units: np.ndarray) -> np.ndarray:
        """The divergence unit by unit."""
        return units

    def limit(self, dense: float | None) -> float | None:
        """1, as the dense model's divergence is 0."""
        return 1.0

    def value(self, law: np.ndarray) -> np.ndarray:
        """Divergence where the law of its exponential has these values."""
        return np.log(law)


@dataclass(frozen=True)
class ShareScale:
    """Accuracy as the share of the dense model's advantage over chance that is left.

    dense: the dense model's accuracy; floor: that of chance.
    """

    dense: float
    floor: float
    name = "share"
    forms = FALLS
    residual = "of the dense model's advantage over chance"

    def usable(self, values: np.ndarray) -> np.ndarray:
        """True for finite accuracies."""
        return np.isfinite(values)

    def y(self, values: np.ndarray) -> np.ndarray:
        """Share that is left."""
        return (values - self.floor) / (self.dense - self.floor)

    def errors(self, values: np.ndarray, stderrs: np.ndarray) -> np.ndarray:
        """Standard errors of the share, the dense accuracy taken as exact."""
        return stderrs / (self.dense - self.floor)

    def units(self, units: np.ndarray) -> np.ndarray:
        """Answers as they are."""
        return units

    def resampled(self, units: np.ndarray, dense: np.ndarray | None, form: Form) -> np.ndarray:
        """Shares of the dense accuracy over the same documents."""
        base = self.dense if dense is None else dense
        return (units - self.floor) / (base - self.floor)

    def limit(self, dense: float | None) -> float | None:
        """None: the dense accuracy is in the share."""
        return None

    def value(self, law: np.ndarray) -> np.ndarray:
        """Accuracy of a share that is left."""
        return self.floor + (self.dense - self.floor) * law


def scale_of(facts: Mapping[str, object], dense: float, floor: float) -> Scale:
    """The scale of a score, by its columns in the tidy frame: score, unit, better."""
    columns = ("score", "unit", "better")
    name = scale_name(*(str(facts.get(column, "")) for column in columns))
    if name == "share":
        return ShareScale(dense, floor)
    return NatsScale() if name == "nats" else LogScale()


def candidates(name: str, dense: float | None, scale: Scale | None = None) -> Sequence[Form]:
    """The variants of a form, with and without its optional terms; for "smooth" all smooth curves.

    dense: the dense limit of the laws. scale: by default that of perplexity.
    """
    if isinstance(scale, ShareScale):
        if name != "smooth":
            return [Fall(name.removesuffix(" fall"), gradual) for gradual in (False, True)]
        return [Fade("smooth sigmoid"), Fade("smooth loss")]
    if name == "power law":
        return [PowerLaw(powers) for powers in POWERS]
    if name == "dense limit":
        return [DenseLimit(powers, dense) for powers in POWERS]
    cubics = [Polynomial(powers, dense) for powers in ((1, 3), (2, 3), (1, 2, 3))]
    smooth = [Stretched(dense), quadratic(dense), *cubics, Unbroken(dense)]
    return smooth if isinstance(scale, NatsScale) else [*smooth, Unbroken(zero=True)]


def quadratic(dense: float | None) -> Polynomial:
    """The loss as a quadratic of the sparsity (Sengupta et al. 2025, arXiv 2504.04342, abstract)."""
    return Polynomial((1, 2), dense, monotone=False)


def bend(dense: float | None, scale: Scale) -> Form:
    """A curve without a break that is steeper than a gradual loss, for a warning."""
    if isinstance(scale, ShareScale):
        return Fade("smooth sigmoid", BEND)
    return Stretched(dense, (GRADUAL, BEND))
