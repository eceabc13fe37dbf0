"""ASVD: inputs are scaled before the truncation, and linears that can spare it lose more.

``a_j = (sum_k mean_t |x_tj|)^alpha + 1e-6`` of input channel j, over the windows k of the
calibration (`scaling=abs_max`: the largest magnitude instead of the sum). With
``W diag(a) = U S V^T`` and the r largest singular values the linear becomes ``U_r sqrt(S_r)`` after
``sqrt(S_r) V_r^T diag(1/a)``. For a ratio of its m n numbers ``r = int(m n ratio) // (m + n)``,
rounded up to a multiple of `rank_align`.

The ratios come from a search: each linear alone is truncated to 0.4, 0.5, ... 0.9 of its numbers,
and the perplexity is measured on the first `sensitivity_windows` calibration windows. All pairs
(linear, ratio) are sorted by perplexity. From the least harmful on, as many pairs are allowed as it
takes to remove a level's fraction of the linears' numbers. Each linear takes the smallest ratio
that is allowed; the others stay as they are. The search does not depend on the level. By default no
level above 0.6 can be reached.

The official code's decomposition is randomised: `official=true` sets `decomposition=randomised` (its
seed is 233 for each linear). That code also counts the head among the linears. Here levels count the
decoder, so the head stays as it is in both cases. Scales by Fisher information are not offered.
Biases, zeros of earlier steps and earlier factors are treated as in `svd`.

Yuan, Shang, Song, Wu, Yan and Sun, "ASVD: Activation-aware Singular Value Decomposition for Compressing
Large Language Models", 2023.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from meltpoint.chain import Level, Sparsity
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods._asvd_factors import aligned_rank, choose_ratios, scaled_factors
from meltpoint.methods._factors import put, sizes_of, weights_of
from meltpoint.methods.contract import Block, Context, Statistics
from meltpoint.methods.settings import CalibratedSettings, OfficialSettings, ShapeSettings

sensitivity = LazyModule("meltpoint.methods._asvd_sensitivity")

# Linears of a block of most architectures.
USUAL_LINEARS = 7

kind = "low-rank"
levels = (Sparsity,)
env = "torch"
full_range_settings = {"lowest_ratio": "0.1"}
search_format = "npz"
search_settings = (
    *("alpha", "scaling", "lowest_ratio", "rank_align", "sensitivity_windows"),
    *("official", "decomposition"),
)


class Settings(CalibratedSettings, ShapeSettings, OfficialSettings):
    """The official code's settings."""

    official_defaults: ClassVar[dict[str, Any]] = {"decomposition": "randomised"}

    alpha: float = Field(0.5, ge=0, description="Exponent of the inputs' magnitudes in the scales.")
    scaling: Literal["abs_mean", "abs_max"] = Field(
        "abs_mean", description="Magnitude of an input channel that the scales are made of."
    )
    lowest_ratio: float = Field(
        0.4,
        ge=0.05,
        le=0.9,
        description="Smallest share of its numbers that a linear may keep. Tried are this and all "
        "tenths above it.",
    )
    rank_align: int = Field(
        1, ge=1, description="Number whose multiples the ranks are rounded up to."
    )
    sensitivity_windows: int = Field(
        4, ge=1, description="Number of calibration windows that the sensitivities are measured on."
    )
    decomposition: Literal["exact", "randomised"] = Field(
        "exact", description="Algorithm of the singular value decomposition."
    )

    @property
    def ratios(self) -> list[float]:
        """Shares of a linear's numbers that are tried, in ascending order."""
        return [self.lowest_ratio, *(k / 10 for k in range(1, 10) if k / 10 > self.lowest_ratio)]

    @property
    def accumulator(self) -> str:
        """Name of the statistic of the inputs from which the scales are computed."""
        return {"abs_mean": "absolute_mean", "abs_max": "absolute_maximum"}[self.scaling]


def calibrated(level: Level, settings: Settings) -> bool:
    """False: only the search reads the calibration."""
    return False


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Scales of all linears' inputs, and the perplexity with each linear alone truncated."""
    return sensitivity.search(source, settings, context)


def search_windows(settings: Settings, blocks: int, windows: int) -> tuple[int, int]:
    """Numbers of windows of all candidates, through blocks and through the head.

    A candidate passes its own block and all blocks behind it.
    """
    tried = min(settings.sensitivity_windows, windows) * USUAL_LINEARS * len(settings.ratios)
    return tried * blocks * (blocks + 1) // 2, tried * blocks


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Replaces the linears that the level truncates by two factors each, in place."""
    if "ratios" not in block.memory:
        parameters = block.parameters if settings.of == "parameters" else None
        block.memory["ratios"] = choose_ratios(
            block.search, level.fraction, settings.rank_align, parameters
        )
    sizes = sizes_of(block)
    for name, weight in weights_of(block).items():
        key = f"{block.index}.{name}"
        if key not in block.memory["ratios"]:
            continue
        scale = torch.from_numpy(block.search[f"scale.{key}"]).to(weight)
        rank = aligned_rank(*sizes[name], block.memory["ratios"][key], settings.rank_align)
        put(block, name, scaled_factors(weight, scale, settings.decomposition)(rank))
