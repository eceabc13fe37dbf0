"""Scales that the curves of scores are fitted on. A study is checked by this, so it needs no NumPy."""

from typing import Literal

from meltpoint.evaluations.contract import PERPLEXITY

ScaleName = Literal["log", "nats", "share"]


def scale_name(score: str, unit: str, better: str) -> ScaleName | None:
    """Scale of a score's curve: `log` of a perplexity, `nats` of a divergence, `share` of a fraction.

    None for a score that no law is known for, such as bits per byte or a fraction that had better be
    low.
    """
    if score == PERPLEXITY:
        return "log"
    if unit == "nats" and better == "lower":
        return "nats"
    return "share" if unit == "fraction" and better == "higher" else None
