"""BESA: the sparsity of each row or layer of a block is learned from what the block then computes.

In each row weights are removed in the order of Wanda's metric ``|W_ij| sqrt(a_j)``. The fraction
that is removed is a mean ``alpha = sum_d p_d c_d`` of candidates c = 1, 1 - `step`, ..., 0, with
``p = softmax(beta)`` (with `sigmoid`: ``softmax(sigmoid(beta))``), one beta per row or per layer.
Forward the first floor(alpha C) weights of a row are removed; backward the weight of rank r is kept
with probability ``1 - sum_d p_d [r < floor(c_d C)]``. beta minimises, by Prodigy and a window at a
time, ``(1/H) sum_th ((Y_ref - Y)_th / ||Y_ref,h||)^2 + penalty ((alpha_block - s) / s)^2`` over the
block's outputs Y, of tokens t and H channels h (equations 5 to 7). The block as a whole gets the
sparsity s, its layers and rows their own.

The penalty alone only comes near to s. With `exact` all alphas of the block are then shifted by the
one amount, clipped to [0, 1], that removes floor(N s) of its N weights; without `exact` they stay as
learned, as in the official code. With `sigmoid` an alpha cannot leave [0.376, 0.624]: a target outside
is not applicable here, and a "0.7" that was published with it stands for a sparsity of about 0.62.

Xu, Shao, Chen, Tang, Zhang, Gao, Qiao and Luo, "BESA: Pruning Large Language Models with Blockwise
Parameter-Efficient Sparsity Allocation", ICLR 2024.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import LazyModule
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import CalibratedSettings

if TYPE_CHECKING:
    from meltpoint.methods import _besa_learning

kind = "unstructured"
levels = (Sparsity,)
env = "torch"
libraries = ("prodigyopt",)
sparsity_scope = "block"
full_range_settings = {"sigmoid": "false"}
statistics = ("norm",)
counts = LazyModule("meltpoint.methods._besa_counts")
learning = LazyModule("meltpoint.methods._besa_learning")
masks = LazyModule("meltpoint.methods._besa_masks")

D_COEF = {"row": 5.0, "layer": 0.5}
REFERENCE = {"row": "pruned", "layer": "dense"}


class Settings(CalibratedSettings):
    """The official code's defaults, and its scripts' where those differ."""

    group: Literal["row", "layer"] = Field(
        "layer", description="Part that has a sparsity of its own."
    )
    epochs: int = Field(1, ge=1, description="Number of passes of the windows per block.")
    penalty: float = Field(5, ge=0, description="Weight of the sparsity's term in the loss.")
    sigmoid: bool = Field(
        True,
        description="Whether a sigmoid smooths the candidates' shares, which limits the sparsity.",
    )
    reference: Literal["auto", "pruned", "dense"] = Field(
        "auto",
        description="Outputs that a block's are compared to: the dense block's on its `pruned` inputs, "
        "or the `dense` model's. auto: pruned for rows, dense for layers.",
    )
    d_coef: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        "auto",
        description="Scale of Prodigy's step size. auto: 5 for rows, 0.5 for layers, where the "
        "official scripts go from 0.05 (LLaMA-2-7B, on 128 windows: too slow for fewer) to 50.",
    )
    step: float = Field(0.01, ge=0.001, le=0.5, description="Distance between the candidates.")
    batch: int = Field(1, ge=1, description="Number of windows per step of the optimiser.")
    exact: bool = Field(True, description="Whether the block gets exactly the requested sparsity.")


def needs_dense_outputs(settings: Settings) -> bool:
    """True if a block's outputs are compared with those of the dense model."""
    auto = settings.reference == "auto"
    return (REFERENCE[settings.group] if auto else settings.reference) == "dense"


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Learns the block's sparsities and zeroes its weights accordingly, in place.

    Raises NotApplicable for a sparsity that the settings cannot reach.
    """
    _check_reach(level.fraction, settings)
    learner = make_learner(block, statistics, settings)
    for batch in batches(len(block.hidden), settings):
        learn_step(learner, block, batch, level, settings)
    for name, number in final_counts(learner, level, settings).items():
        ranking = learner.rankings[name]
        ranking.weight.masked_fill_(ranking.removed(number), 0)


def batches(windows: int, settings: Settings) -> Iterator[slice]:
    """Slices of the windows for each step, in order, epoch after epoch."""
    for _ in range(settings.epochs):
        for start in range(0, windows, settings.batch):
            yield slice(start, min(start + settings.batch, windows))


def make_learner(
    block: Block, statistics: dict[str, Statistics], settings: Settings
) -> "_besa_learning.Learner":
    """The block's learner before its first step: all candidates have equal shares."""
    rankings, candidates = {}, masks.candidates(settings.step)
    for name, linear in block.linears.items():
        weight = linear.weight.detach()
        metric = weight.abs() * statistics[name].norm.sqrt()
        rankings[name] = masks.Ranking(weight, metric, candidates)
    d_coef = D_COEF[settings.group] if settings.d_coef == "auto" else settings.d_coef
    return learning.Learner(rankings, candidates, settings.group == "row", settings.sigmoid, d_coef)


def learn_step(
    learner: "_besa_learning.Learner",
    block: Block,
    batch: slice,
    level: Sparsity,
    settings: Settings,
) -> Tensor:
    """One step of the learner on a batch of windows; returns its loss."""
    dense = needs_dense_outputs(settings)
    reference = block.dense_outputs[batch] if dense else block.forward(batch)
    return learner.step(
        lambda weights: block.forward(batch, weights), reference, level.fraction, settings.penalty
    )


def final_counts(
    learner: "_besa_learning.Learner", level: Sparsity, settings: Settings
) -> dict[str, Tensor]:
    """Number of weights that each row of each linear loses: {name: [rows, 1] or [1, 1]}."""
    alphas = learner.alphas()
    if settings.exact:
        return counts.exact_counts(learner.rankings, alphas, level.fraction)
    return {name: learner.counts(name, alpha) for name, alpha in alphas.items()}


def _check_reach(fraction: float, settings: Settings) -> None:
    low, high = counts.reachable(masks.candidates(settings.step))
    if settings.sigmoid and not low <= fraction <= high:
        raise NotApplicable(
            f"besa reaches sparsities from {low:.4f} to {high:.4f} with its sigmoid, not "
            f"{fraction:g}: set sigmoid=false"
        )
