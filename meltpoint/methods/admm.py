"""ADMM: masks by magnitude in normalised inputs, weights by the alternating direction method.

``G = sum x x^T`` over the calibration tokens, normalised to the diagonal 1 and damped by
``percdamp`` times its mean diagonal; ``W^_ij = W_ij sqrt(G_jj)``. From ``W = W^``, ``U = 0``, each
of the iterations takes ``Z = (W + U) o M``, ``U = U + W - Z`` and
``W = (G + rho I)^-1 (G W^ + rho (Z - U))``; the first ``prune_iterations`` choose the mask M anew
by ``|W + U|``; the last Z is the result. For a sparsity s the floor(numel s) smallest of a layer
are removed, or with ``group=row`` the floor(C s) smallest of each row. With ``schedule=gradual``,
as in the paper, refresh t of T removes ``s - s (1 - t/T)^3``; the official code, and so the
default, removes s from the first refresh on. For N:M the N largest of every M consecutive weights
of a row are never removed. Of the others a gradually growing number is removed, the smallest of the
layer first, in the end all. Rows and N:M are always gradual, as in the official code.

The official code prunes 2:4 whatever N:M is requested, so published numbers of 4:8 are those of
2:4. Zeros that a model already has stay.

Boža, "Fast and Effective Weight Update for Pruned Large Language Models", TMLR 2024.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from meltpoint.chain import Pattern, Sparsity
from meltpoint.lazy_import import torch
from meltpoint.methods import _admm_masks
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import CalibratedSettings

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"
updates_weights = True
statistics = ("hessian",)


class Settings(CalibratedSettings):
    """The official code's settings."""

    schedule: Literal["constant", "gradual"] = Field(
        "constant", description="Course of the sparsity over the refreshes of a layer's mask."
    )
    iterations: int = Field(20, ge=1, description="Number of updates of the weights.")
    prune_iterations: int = Field(
        15, ge=1, description="Number of the first updates that renew the mask."
    )
    percdamp: float = Field(
        0.1, ge=0, description="Damping of the Gram matrix, as a fraction of its mean diagonal."
    )
    rho: float = Field(1.0, gt=0, description="Penalty of the weights' distance from their mask.")
    group: Literal["layer", "row"] = Field(
        "layer", description="Weights that are compared with each other at a sparsity."
    )

    @model_validator(mode="after")
    def _all_refreshes_fit(self) -> Self:
        if self.prune_iterations > self.iterations:
            raise ValueError("prune_iterations must be at most iterations")
        return self

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: with `group=row` also `schedule`."""
        return super().unused_settings() | ({"schedule"} if self.group == "row" else set())


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity | Pattern, settings: Settings
) -> None:
    """Prunes and updates the block's linears in place; those of one input share the inverse."""
    for names in block.same_input(statistics):
        inputs = statistics[names[0]]
        norm, gram, inverse = factors(inputs.hessian * (inputs.windows / 2), settings)
        for name in names:
            weight = block.linears[name].weight
            weight.copy_(prune(weight, norm, gram, inverse, level, settings))


def factors(gram: Tensor, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs' norms [C], the normalised and damped G, and ``(G + rho I)^-1``, both [C, C].

    A mask may depend on the seventh digit of a weight. This function and `prune` therefore keep the
    official order of operations.
    """
    norm = gram.diagonal().sqrt() + 1e-8
    gram = (gram / norm).div_(norm[:, None])
    diagonal = gram.diagonal()
    diagonal += settings.percdamp * diagonal.mean()
    shifted = gram.clone()
    shifted.diagonal().add_(settings.rho)
    return norm, gram, torch.inverse(shifted)


def prune(
    weight: Tensor,
    norm: Tensor,
    gram: Tensor,
    inverse: Tensor,
    level: Sparsity | Pattern,
    settings: Settings,
) -> Tensor:
    """The pruned weight, float32 [rows, C].

    norm: [C]. gram, inverse: [C, C]. The iterations work on the transposed weight.
    """
    weight = (weight.float() * norm).T.contiguous()
    gone = weight == 0
    gone = gone if gone.any() else None
    target = gram @ weight
    dual, split = torch.zeros_like(weight), torch.empty_like(weight)
    for iteration in range(settings.iterations):
        torch.add(weight, dual, out=split)
        if iteration < settings.prune_iterations:
            kept = _admm_masks.choose(split.abs(), gone, level, settings, iteration)
        split.mul_(kept)
        dual += weight.sub_(split)
        split.sub_(dual).mul_(settings.rho).add_(target)
        torch.mm(inverse, split, out=weight)
    return (weight + dual).masked_fill_(~kept, 0).T / norm
