"""Gradients of the loss with respect to the weights around the decoder's blocks."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from meltpoint.compute import overflow
from meltpoint.errors import MeltpointError
from meltpoint.model.block_walk import Walk
from meltpoint.model.gradient_statistics import (
    GradientAccumulator,
    GradientCollector,
    GradientStatistics,
)
from meltpoint.model.model_parts import ModelParts


class OuterGradients:
    """Collects gradients of the weights before the first block and after the last one.

    After the walk `statistics` holds them by part: "embeddings", "norm.weight" and "head". In a model
    with narrow embeddings, "project_in" and "project_out", the linears to and from the residual stream,
    replace embeddings and head. A tied head has gradients of its own, as if it were an untied copy.
    Learned positions have none.
    """

    def __init__(self, accumulators: Mapping[str, type[GradientAccumulator]]) -> None:
        self._kinds = accumulators
        self.statistics: dict[str, GradientStatistics] = {}

    @contextlib.contextmanager
    def around_head(self, walk: Walk) -> Iterator[GradientCollector]:
        """Context of a backward pass that collects the gradients of final norm and head.

        Their weights must be loaded.
        """
        parts = ModelParts(walk.model)
        narrow = parts.projections[1]
        linears = {"head": parts.head} if narrow is None else {"project_out": narrow}
        vectors = nn.ModuleDict(linears if parts.norm is None else {"norm": parts.norm, **linears})
        collector = GradientCollector(linears, self._kinds, len(walk.windows), vectors)
        yield collector
        self._take(collector.statistics(), "the head", walk)

    def take_embeddings(self, walk: Walk, gradient: torch.Tensor, scales: Sequence[float]) -> None:
        """Collects the gradients of the embeddings, or of the linear behind narrow ones.

        `gradient` [windows, tokens, width] is that of the first block's inputs, `scales` are the
        factors of the windows' losses.
        """
        parts = ModelParts(walk.model)
        narrow = parts.projections[0]
        name, module = (
            ("embeddings", parts.embeddings) if narrow is None else ("project_in", narrow)
        )
        calls: list[tuple[torch.Tensor, torch.Tensor]] = []

        def listen(_: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
            calls[:] = [(args[0], output.detach().requires_grad_())]
            return calls[0][1]

        accumulators: dict[str, GradientAccumulator] = {}
        handle = module.register_forward_hook(listen)
        try:
            with torch.enable_grad():
                for batch, first in walk.first_inputs(walk.batches()):
                    weight, (inputs, outputs) = module.weight, calls[0]
                    for key, kind in self._kinds.items():
                        accumulators.setdefault(key, kind(weight, len(walk.windows)))
                    gradients = torch.autograd.grad(first, outputs, gradient[batch])[0]
                    for each, window, scale in zip(gradients, inputs, scales[batch], strict=True):
                        _update(accumulators, weight, each.float() * scale, window)
        finally:
            handle.remove()
        values = {key: accumulator.value for key, accumulator in accumulators.items()}
        self._take({name: GradientStatistics(values)}, "the embeddings", walk)

    def _take(self, parts: dict[str, GradientStatistics], place: str, walk: Walk) -> None:
        if not all(values.finite() for values in parts.values()):
            raise MeltpointError(overflow(f"the gradients of {place}", place, walk.compute.dtype))
        self.statistics |= parts


def _update(
    accumulators: Mapping[str, GradientAccumulator],
    weight: torch.Tensor,
    gradient: torch.Tensor,
    inputs: torch.Tensor,
) -> None:
    """Takes one window's gradient of the outputs, [tokens, width].

    `inputs` are tokens, int64 [tokens], or a linear's inputs [tokens, columns].
    """
    if inputs.is_floating_point():
        total = gradient.T @ inputs.float()
    else:
        total = gradient.new_zeros(weight.shape).index_add_(0, inputs, gradient)
    for accumulator in accumulators.values():
        accumulator.update(total)
