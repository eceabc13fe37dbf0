"""Statistics of a linear's input over the calibration windows.

A method names the accumulators that it needs; only those are computed, in float32 whatever the
dtype of the model. Linears that see the same input share one `Statistics`.
"""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from meltpoint.compute import all_finite
from meltpoint.model.as_linears import ExpertLinear, split_by_window


class Accumulator:
    """A sum over the calibration windows, in float32: `value`, of `shape(width)`."""

    def __init__(self, width: int, windows: int, device: torch.device) -> None:
        self.value = torch.zeros(self.shape(width), device=device)
        self.windows = windows

    def shape(self, width: int) -> tuple[int, ...]:
        """Shape of the value for an input of `width` channels."""
        return (width,)

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        raise NotImplementedError


class Norm(Accumulator):
    """``a_j = (1/n) sum_t x_tj^2``, [C]: the squared norm of channel j within a window.

    It is averaged over the n windows; t runs over all of their tokens.
    """

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        self.value += inputs.flatten(0, 1).square().sum(dim=0) / self.windows


class Hessian(Accumulator):
    """``H = (2/n) sum_k X_k^T X_k`` over the n windows: [C, C]."""

    def shape(self, width: int) -> tuple[int, ...]:
        """Shape of the value for an input of `width` channels."""
        return (width, width)

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        # Window by window, as the official codes do. The masks of ADMM and SparseGPT can depend on the
        # order of this sum, so a batch of windows must not change it.
        for window in inputs:
            self.value.addmm_(window.T, window, alpha=2 / self.windows)


class Sum(Accumulator):
    """``m_j = (1/n) sum_t x_tj``: the sum of channel j over tokens, averaged over windows: [C]."""

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        self.value += inputs.flatten(0, 1).sum(dim=0) / self.windows


class Variance(Accumulator):
    """The biased variance of each channel within a window, averaged over windows: [C].

    Differences between the means of the windows do not count.
    """

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        self.value += inputs.var(dim=1, correction=0).sum(dim=0) / self.windows


class Mean(Accumulator):
    """``mu_j``: the mean of channel j over the tokens of all windows: [C]."""

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        self.value += inputs.mean(dim=1).sum(dim=0) / self.windows


class Fluctuation(Accumulator):
    """The biased variance of each channel over the tokens of all windows, by Welford's update: [C]."""

    def __init__(self, width: int, windows: int, device: torch.device) -> None:
        super().__init__(width, windows, device)
        self._mean = torch.zeros_like(self.value)
        self._taken = 0

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        for window in inputs:
            variance, mean = torch.var_mean(window, dim=0, correction=0)
            share = 1 / (self._taken + 1)
            step = mean - self._mean
            self._mean += step * share
            self.value += (variance - self.value + step.square() * (1 - share)) * share
            self._taken += 1


class AliasedFluctuation(Fluctuation):
    """``F_n = F_(n-1) (n-2)/(n-1) + (1/n) (1/T) sum_t (x_t - mu_n)^2`` of window n, F_1 = 0: [C].

    This is the recurrence of FLAP's published code. Its mean before the window is an alias of the mean
    after it, so mu_n stands in both places. The first window counts in the mean alone. Meltpoint adds
    the division by the T tokens.
    """

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        for window in inputs:
            self._taken += 1
            count = self._taken
            self._mean += (window.mean(dim=0) - self._mean) / count
            if count > 1:
                distance = (window - self._mean).square_().mean(dim=0)
                self.value.mul_((count - 2) / (count - 1)).add_(distance, alpha=1 / count)


class AbsoluteMean(Accumulator):
    """``(1/n) sum_k mean_t |x_tj|``: the mean magnitude of channel j: [C]."""

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        self.value += inputs.abs().mean(dim=1).sum(dim=0) / self.windows


class AbsoluteMaximum(Accumulator):
    """``max_t |x_tj|``: the largest magnitude of channel j over all windows: [C]."""

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, float32 [windows, tokens, C]."""
        self.value = torch.maximum(self.value, inputs.abs().amax(dim=(0, 1)))


ACCUMULATORS = {
    "norm": Norm,
    "hessian": Hessian,
    "sum": Sum,
    "variance": Variance,
    "mean": Mean,
    "fluctuation": Fluctuation,
    "fluctuation_aliased": AliasedFluctuation,
    "absolute_mean": AbsoluteMean,
    "absolute_maximum": AbsoluteMaximum,
}


class Statistics:
    """The accumulators of one input, each an attribute that holds its value.

    `windows` is the number of calibration windows that the values average over, `tokens` the number of
    tokens that the input was collected on.
    """

    def __init__(self, names: Iterable[str], width: int, windows: int, device) -> None:
        self.windows, self.tokens = windows, 0
        self._accumulators = {name: ACCUMULATORS[name](width, windows, device) for name in names}

    def update(self, inputs: torch.Tensor) -> None:
        """Takes in the inputs of some windows, [windows, tokens, C]."""
        if not self._accumulators:
            return
        self.tokens += inputs[..., 0].numel()
        inputs = inputs.float()
        for accumulator in self._accumulators.values():
            accumulator.update(inputs)

    def __getattr__(self, name: str) -> torch.Tensor:
        try:
            return self.__dict__["_accumulators"][name].value
        except KeyError:
            raise AttributeError(f"{name} was not collected: name it in `statistics`") from None

    def finite(self) -> bool:
        """True if no value is NaN or infinite."""
        return all(all_finite(a.value) for a in self._accumulators.values())


class Collector:
    """Collects the statistics of a block's linears while the block runs.

    The first forward pass shows which linears are given the same tensor. Later passes collect the
    input of one linear of each such group, and the group shares one `Statistics`.
    """

    def __init__(self, linears: dict[str, torch.nn.Linear], names, windows: int) -> None:
        self.statistics: dict[str, Statistics] = {}
        self._windows = 1
        self._new = lambda x: Statistics(names, x.shape[-1], windows, x.device)
        self._seen: list[tuple[torch.Tensor, Statistics]] = []
        self._handles = {
            name: linear.register_forward_pre_hook(self._hook(name))
            for name, linear in linears.items()
        }

    def _hook(self, name: str):
        def listen(module, args) -> None:
            inputs = args[0]
            known = next((s for x, s in self._seen if x is inputs), None)
            if known is not None:
                self._handles.pop(name).remove()
            else:
                known = self.statistics.get(name) or self._new(inputs)
                self._update(known, module, inputs)
                if name not in self.statistics:
                    self._seen.append((inputs, known))
            self.statistics[name] = known

        return listen

    def _update(self, statistics: Statistics, module: nn.Module, inputs: torch.Tensor) -> None:
        if isinstance(module, ExpertLinear):
            # Windows send it different numbers of tokens.
            for window in split_by_window(module, self._windows)(inputs).values():
                statistics.update(window[None])
        else:
            # Some models flatten the windows of a batch for a part of their block.
            statistics.update(inputs.reshape(self._windows, -1, inputs.shape[-1]))

    @contextlib.contextmanager
    def forward_pass(self, windows: int) -> Iterator[None]:
        """Context of a forward pass of so many windows. Releases the inputs afterwards."""
        self._windows = windows
        yield
        self._seen.clear()

    def close(self) -> None:
        """Removes the hooks from the linears."""
        for handle in self._handles.values():
            handle.remove()


def group_by_identity(statistics: dict[str, Statistics]) -> list[list[str]]:
    """Names of linears, one list for each `Statistics` object that they share."""
    groups: dict[int, list[str]] = {}
    for name, shared in statistics.items():
        groups.setdefault(id(shared), []).append(name)
    return list(groups.values())
