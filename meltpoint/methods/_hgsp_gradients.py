"""Gradients of the global search: sums over batches, their statistics, and the units' importance."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.methods import _hgsp_units as units
from meltpoint.model import empty_model
from meltpoint.model.backward_walk import BlockGradients, walk_backwards
from meltpoint.model.gradient_statistics import GradientAccumulator

# Windows of a batch, as published.
BATCH = 4
# Statistics of |g| that are noted after each batch.
STATISTICS = ("mean", "std", "norm", "max", "min")


class BatchSum(GradientAccumulator):
    """The sum over batches of the gradients of their mean losses, noted after each batch.

    The division by a batch's number of tokens is part of the tokens' weights. `noted` are `STATISTICS`
    of the sum's absolute values, always in float32, since a norm would overflow in float16.
    """

    def __init__(self, weight: torch.Tensor, windows: int) -> None:
        super().__init__(weight, windows)
        self.seen, self.noted = 0, []

    def update(self, gradient: torch.Tensor) -> None:
        """Adds the gradient of one window's loss."""
        self.value.add_(gradient)
        self._note()

    def update_product(self, left: torch.Tensor, right: torch.Tensor, scale: float) -> None:
        """Adds the product ``scale left^T right`` without a temporary array."""
        self.value.addmm_(left.T, right, alpha=scale)
        self._note()

    def _note(self) -> None:
        self.seen += 1
        if self.seen % BATCH and self.seen < self.windows:
            return
        sizes = self.value.abs()
        mean, norm, (low, high) = sizes.mean(), sizes.norm(), sizes.aminmax()
        # The variance is computed from the norm, as `std` takes as long as all the others together.
        count = sizes.numel()
        variance = ((norm / count**0.5) ** 2 - mean**2).clamp(min=0) * count / max(count - 1, 1)
        self.noted.append(torch.stack([mean, variance.sqrt(), norm, high, low]))


def token_weights(windows: torch.Tensor, lengths: torch.Tensor | None, batch: int) -> torch.Tensor:
    """Weights of the next tokens' losses, float64 [windows, tokens - 1]; those of a batch sum to 1.

    lengths: number of tokens before the padding, [windows]; losses on padding have the weight 0. None
    if there is no padding. The weights of a batch of padding alone are 0.
    """
    count, tokens = windows.shape
    mask = torch.ones(count, tokens - 1, dtype=torch.float64)
    if lengths is not None:
        mask = (torch.arange(1, tokens) < lengths.cpu()[:, None]).double()
    parts = (part / part.sum().clamp(min=1) for part in mask.split(batch))
    return torch.cat(list(parts))


def measure(
    source: Path,
    windows: torch.Tensor,
    lengths: torch.Tensor | None,
    compute: Compute,
    prepare: Callable[[nn.Module], None] | None,
) -> dict[str, Any]:
    """Units, importances and statistics of gradients of a checkpoint, as the search keeps them.

    `outer_parameters` is the number of parameters outside the blocks, tied ones counted once.
    `importance.{block}.{kind}` are arrays [units], `gradients` is [parameters, batches, statistics];
    `gradient_parameters` holds block and parameter of each row, `blocks` the facts of `_hgsp_units`.
    prepare: changes each block before its gradients are computed.
    """
    reader = Reader(source, compute.torch_dtype, compute.torch_device)
    weights = token_weights(windows, lengths, BATCH)
    found: dict[int, tuple] = {}
    walk = partial(walk_backwards, token_weights=weights, vectors=True, prepare=prepare)
    for block in walk(reader, windows, compute, {"sum": BatchSum}):
        found[block.index] = units.facts(block.module), _importances(block), _noted(block)
    noted = {(i, name): values for i in sorted(found) for name, values in found[i][2].items()}
    return {
        "outer_parameters": _outer_parameters(source, compute),
        "blocks": [found[i][0] for i in sorted(found)],
        "gradient_parameters": [list(key) for key in noted],
        "gradients": torch.stack(list(noted.values())),
        **{key: value for i in sorted(found) for key, value in found[i][1].items()},
    }


def _outer_parameters(source: Path, compute: Compute) -> int:
    model = empty_model.build(source, compute.torch_dtype)
    path, _ = empty_model.decoder_blocks(model)
    named = model.named_parameters()
    return sum(p.numel() for name, p in named if not name.startswith(f"{path}."))


def _importances(block: BlockGradients) -> dict[str, torch.Tensor]:
    gradients = {name: statistics.sum for name, statistics in block.gradients.items()}
    return {
        f"importance.{block.index}.{kind}": units.importance(linears, gradients).cpu()
        for kind, linears in units.members(block.module).items()
        if linears
    }


def _noted(block: BlockGradients) -> dict[str, torch.Tensor]:
    """Statistics of each parameter's gradient, [batches, statistics], by its name in the block.

    A norm whose attention or MLP an earlier step has removed has no gradient.
    """
    return {
        f"{name}.weight" if name in block.linears else name: torch.stack(kinds["sum"].noted).cpu()
        for name, kinds in block.accumulators.items()
        if kinds["sum"].noted
    }
