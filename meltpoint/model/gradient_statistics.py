"""Statistics of the loss's gradient with respect to a linear's weight, over the calibration windows.

The loss of a window is the mean cross-entropy of its next tokens. A method names the accumulators that
it needs, or brings classes of its own; each is shown the gradient of one window after the other.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn


class GradientAccumulator:
    """A sum over windows: `value`, [rows, columns], in float32 or, for float64 weights, float64."""

    def __init__(self, weight: torch.Tensor, windows: int) -> None:
        dtype = torch.promote_types(weight.dtype, torch.float32)
        self.value = torch.zeros(weight.shape, dtype=dtype, device=weight.device)
        self.windows = windows

    def update(self, gradient: torch.Tensor) -> None:
        """Adds the gradient of one window's loss, [rows, columns], and leaves it as it is."""
        raise NotImplementedError

    def update_product(self, left: torch.Tensor, right: torch.Tensor) -> None:
        """Adds the gradient that is ``left^T right``, of [tokens, rows] and [tokens, columns]."""
        self.update(left.T @ right)


class Gradient(GradientAccumulator):
    """``(1/n) sum_w g_w``: the gradient of the mean loss over the n windows."""

    def update(self, gradient: torch.Tensor) -> None:
        """Adds the gradient of one window's loss."""
        self.value.add_(gradient, alpha=1 / self.windows)

    def update_product(self, left: torch.Tensor, right: torch.Tensor) -> None:
        """Adds the product without making it first, which spares passes over the weight's size."""
        self.value.addmm_(left.T, right, alpha=1 / self.windows)


class GradientSquare(GradientAccumulator):
    """``(1/n) sum_w g_w^2``: the diagonal of the empirical Fisher information, a window an example."""

    def update(self, gradient: torch.Tensor) -> None:
        """Adds the square of the gradient of one window's loss."""
        self.value.addcmul_(gradient, gradient, value=1 / self.windows)


GRADIENT_ACCUMULATORS: dict[str, type[GradientAccumulator]] = {
    "gradient": Gradient,
    "gradient_square": GradientSquare,
}


class GradientStatistics:
    """The accumulators of one linear's weight, each an attribute that holds its value."""

    def __init__(self, values: Mapping[str, torch.Tensor]) -> None:
        self.values = dict(values)

    def __getattr__(self, name: str) -> torch.Tensor:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(f"{name} was not collected: name it in `gradients`") from None

    def finite(self) -> bool:
        """True if no value is NaN or infinite."""
        return all(bool(value.isfinite().all()) for value in self.values.values())


class GradientCollector:
    """Collects the gradients of a block's linears, window by window, while the block runs backwards.

    Autograd is asked for the gradient of the block's inputs alone. On its way it passes each linear's
    outputs: with their gradient D_w [tokens, rows] and the linear's inputs X_w [tokens, columns] the
    gradient of window w is ``D_w^T X_w``, so that one backward pass gives those of all windows.
    """

    def __init__(
        self,
        linears: Mapping[str, nn.Linear],
        accumulators: Mapping[str, type[GradientAccumulator]],
        windows: int,
    ) -> None:
        self.linears = linears
        self._accumulators = {
            name: {key: kind(linear.weight, windows) for key, kind in accumulators.items()}
            for name, linear in linears.items()
        }

    @contextlib.contextmanager
    def backward_pass(self, windows: int, scale: float) -> Iterator[None]:
        """Around the forward and backward pass of so many windows; gradients are times `scale`."""
        handles = [
            linear.register_forward_hook(self._listener(name, windows, scale))
            for name, linear in self.linears.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _listener(self, name: str, windows: int, scale: float) -> Callable:
        def listen(module: nn.Module, args: tuple, outputs: torch.Tensor) -> None:
            # Some models flatten the windows of a batch for a part of their block.
            inputs = args[0].detach().reshape(windows, -1, args[0].shape[-1])
            outputs.register_hook(lambda given: self._update(name, inputs, given, scale))

        return listen

    def _update(
        self, name: str, inputs: torch.Tensor, gradients: torch.Tensor, scale: float
    ) -> None:
        accumulators = list(self._accumulators[name].values())
        dtype = torch.promote_types(inputs.dtype, torch.float32)
        gradients = gradients.reshape(len(inputs), -1, gradients.shape[-1])
        for window, gradient in zip(inputs, gradients, strict=True):
            left, right = gradient.to(dtype) * scale, window.to(dtype)
            if len(accumulators) == 1:
                accumulators[0].update_product(left, right)
                continue
            product = left.T @ right
            for accumulator in accumulators:
                accumulator.update(product)

    def accumulators(self) -> dict[str, dict[str, GradientAccumulator]]:
        """The accumulators of each linear, by their names."""
        return self._accumulators

    def statistics(self) -> dict[str, GradientStatistics]:
        """The accumulators' values, by the linears' names."""
        return {
            name: GradientStatistics({key: a.value for key, a in accumulators.items()})
            for name, accumulators in self._accumulators.items()
        }
