"""ASVD's search: the scales of inputs, and the perplexity with each linear alone truncated.

Blocks before the truncated linear compute what they did, so a candidate begins at its own block. All
candidates of a block pass the later blocks together: with L blocks, w windows, 7 linears and 6 ratios
the search costs about 21 w L^2 passes of a window through a block.
"""

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import return_memory, trim_memory
from meltpoint.files import whole_file
from meltpoint.methods._asvd_factors import aligned_rank, scaled_factors
from meltpoint.methods._factors import weight_of
from meltpoint.methods.contract import Context
from meltpoint.model import empty_model
from meltpoint.model.activation_statistics import Statistics
from meltpoint.model.block_parts import columns_of, matrices, rows_of
from meltpoint.model.block_walk import Walk
from meltpoint.model.surgery import linear_of
from meltpoint.model.token_losses import head_of


class SearchSettings(Protocol):
    """The settings that the search reads."""

    scaling: str
    alpha: float
    decomposition: str
    sensitivity_windows: int
    rank_align: int

    @property
    def ratios(self) -> list[float]:
        """Ratios of a linear's numbers to try."""

    @property
    def accumulator(self) -> str:
        """Name of the statistic of the inputs from which the scales are computed."""


@torch.no_grad()
def search(source: Path, settings: SearchSettings, context: Context) -> dict[str, Any]:
    """Result of the search, by name.

    `linears` are all linears as "block.name", `sizes` their rows, columns and numbers held.
    `perplexities` [linears, ratios] are those with one linear truncated (NaN: it would have no rank),
    `dense` is the model's own, and `scale.LINEAR` [columns] are the scales. The perplexities of each
    block are kept in `context.resume`; a killed search tries the others alone.
    """
    return_memory()
    compute = context.compute
    reader = Reader(source, compute.torch_dtype, compute.torch_device)
    trial = Trial(Walk(reader, context.windows, compute), settings)
    trial.walk.embed()
    for index in context.progress(range(len(trial.walk.blocks)), "asvd: blocks"):
        trial.pass_block(index, context.resume and context.resume / f"{index}.npy")
        trim_memory()
    return {
        "linears": list(trial.sizes),
        "sizes": list(trial.sizes.values()),
        "ratios": settings.ratios,
        "perplexities": np.array(trial.perplexities),
        "dense": trial.perplexities_of(trial.walk.hidden[: trial.count])[0],
        **{f"scale.{name}": scale for name, scale in trial.scales.items()},
    }


class Trial:
    """A walk through the dense model that collects the perplexity with each linear truncated."""

    def __init__(self, walk: Walk, settings: SearchSettings) -> None:
        self.walk, self.settings = walk, settings
        self.count = min(settings.sensitivity_windows, len(walk.windows))
        self.sizes: dict[str, tuple[int, int, int]] = {}
        self.scales: dict[str, torch.Tensor] = {}
        self.perplexities: list[list[float]] = []

    def pass_block(self, index: int, kept: Path | None = None) -> None:
        """Truncates each linear of a block to each ratio; makes the next block's inputs.

        kept: a file of the block's perplexities. If it exists, it is read and no linear is truncated.
        """
        walk = self.walk
        empty_model.fill(walk.model, walk.reader.read(walk.names(index)))
        inputs = walk.hidden[: self.count].clone()
        statistics = walk.collect(index, (self.settings.accumulator,), advance=True)
        linears = matrices(walk.blocks[index])
        scales = {
            name: self._note(f"{index}.{name}", linear, statistics.get(name), statistics, name)
            for name, linear in linears.items()
        }
        if kept and kept.is_file():
            empty_model.empty(walk.model, walk.names(index))
            self.perplexities += np.load(kept).tolist()
            return
        ranks = {name: self._ranks(linear) for name, linear in linears.items()}
        outputs = [
            state
            for name in linears
            for state in self._truncated(index, name, ranks[name], scales[name], inputs)
        ]
        empty_model.empty(walk.model, walk.names(index))
        found = iter(self._perplexities_behind(index, outputs))
        rows = [[next(found) if rank else math.nan for rank in row] for row in ranks.values()]
        self.perplexities += rows
        if kept:
            with whole_file(kept) as partial, partial.open("wb") as opened:
                np.save(opened, rows)

    def _note(
        self,
        key: str,
        linear: nn.Module,
        found: Statistics | None,
        statistics: dict[str, Statistics],
        name: str,
    ) -> torch.Tensor:
        """Notes a linear's size and its inputs' scale [columns], and returns the scale."""
        found = found or statistics[f"{name}.0"]
        value = getattr(found, self.settings.accumulator)
        # The official code sums the means of the windows, so the average is multiplied back.
        summed = value * found.windows if self.settings.scaling == "abs_mean" else value
        held = sum(p.numel() for n, p in linear.named_parameters() if n.endswith("weight"))
        self.sizes[key] = (rows_of(linear), columns_of(linear), held)
        self.scales[key] = summed**self.settings.alpha + 1e-6
        return self.scales[key]

    def _ranks(self, linear: nn.Module) -> list[int]:
        size, align = (rows_of(linear), columns_of(linear)), self.settings.rank_align
        return [aligned_rank(*size, ratio, align) for ratio in self.settings.ratios]

    def _truncated(
        self, index: int, name: str, ranks: list[int], scale: torch.Tensor, inputs: torch.Tensor
    ) -> list[torch.Tensor]:
        """The block's outputs with one linear truncated to each rank above zero."""
        block = self.walk.blocks[index]
        linear, outputs = block.get_submodule(name), []
        bias = (linear[-1] if isinstance(linear, nn.Sequential) else linear).bias
        dtype = next(linear.parameters()).dtype
        factors = scaled_factors(weight_of(linear), scale, self.settings.decomposition)
        for rank in filter(None, ranks):
            first, second = factors(rank)
            block.set_submodule(name, linear_of((second @ first).to(dtype), bias))
            outputs.append(self.walk.outputs_on(index, inputs))
        block.set_submodule(name, linear)
        return outputs

    def _perplexities_behind(self, index: int, outputs: list[torch.Tensor]) -> list[float]:
        """Perplexity of each candidate, from its hidden states [windows, tokens, width]."""
        walk, hidden = self.walk, torch.cat(outputs)
        for later in range(index + 1, len(walk.blocks)):
            empty_model.fill(walk.model, walk.reader.read(walk.names(later)))
            hidden = walk.outputs_on(later, hidden)
            empty_model.empty(walk.model, walk.names(later))
        return self.perplexities_of(hidden)

    def perplexities_of(self, hidden: torch.Tensor) -> list[float]:
        """Perplexity of each candidate, from hidden states behind the last block.

        hidden: [candidates x windows, tokens, width], the candidates one after another.
        """
        tokens = self.walk.windows[: self.count].repeat(len(hidden) // self.count, 1)
        with head_of(self.walk) as token_losses:
            losses = torch.cat(
                [
                    token_losses(tokens[batch], hidden[batch]).mean(dim=1)
                    for batch in self.walk.batches(len(hidden))
                ]
            )
        means = losses.double().unflatten(0, (-1, self.count)).mean(dim=1)
        return means.exp().nan_to_num(nan=math.inf).tolist()
