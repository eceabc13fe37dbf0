"""Statistics of the loss's gradient with respect to a weight, over the calibration windows.

The loss of a window is the mean cross-entropy of its next tokens, or a weighted sum over them. A method
names the accumulators that it needs, or brings classes of its own. Each accumulator is given the
gradients window by window.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import nn

from meltpoint.compute import all_finite
from meltpoint.model.as_linears import split_by_window
from meltpoint.model.block_parts import norms


class GradientAccumulator:
    """A sum over windows: `value`, of the weight's shape, in float32 or, for float64 weights, float64.

    The weight is a linear's [rows, columns], or a vector: a bias, or a norm's weight.
    """

    def __init__(self, weight: torch.Tensor, windows: int) -> None:
        dtype = torch.promote_types(weight.dtype, torch.float32)
        self.value = torch.zeros(weight.shape, dtype=dtype, device=weight.device)
        self.windows = windows

    def update(self, gradient: torch.Tensor) -> None:
        """Adds the gradient of one window's loss, of the weight's shape; must not change it."""
        raise NotImplementedError

    def update_product(self, left: torch.Tensor, right: torch.Tensor, scale: float) -> None:
        """Adds ``scale left^T right``, the gradient from [tokens, rows] and [tokens, columns]."""
        self.update((left * scale).T @ right)


class Gradient(GradientAccumulator):
    """``(1/n) sum_w g_w``: the gradient of the mean loss over the n windows."""

    def update(self, gradient: torch.Tensor) -> None:
        """Adds the gradient of one window's loss."""
        self.value.add_(gradient, alpha=1 / self.windows)

    def update_product(self, left: torch.Tensor, right: torch.Tensor, scale: float) -> None:
        """Adds the product in one operation, without a temporary matrix of the weight's size."""
        self.value.addmm_(left.T, right, alpha=scale / self.windows)


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
    """The accumulators of one weight, each an attribute that holds its value."""

    def __init__(self, values: Mapping[str, torch.Tensor]) -> None:
        self.values = dict(values)

    def __getattr__(self, name: str) -> torch.Tensor:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(f"{name} was not collected: name it in `gradients`") from None

    def finite(self) -> bool:
        """True if no value is NaN or infinite."""
        return all(all_finite(value) for value in self.values.values())


class GradientCollector:
    """Collects the gradients of a block's weights, window by window, while the block runs backwards.

    Autograd is asked for the gradient of the block's inputs alone. On its way it passes each linear's
    outputs: with their gradient D_w [tokens, rows] and the linear's inputs X_w [tokens, columns] the
    gradient of window w is ``D_w^T X_w``, so that one backward pass gives those of all windows. That of
    the linear's bias is the sum of D_w over the tokens. A norm is run again for each window.
    """

    def __init__(
        self,
        linears: Mapping[str, nn.Linear],
        accumulators: Mapping[str, type[GradientAccumulator]],
        windows: int,
        vectors: nn.Module | None = None,
    ) -> None:
        """Collects the gradients of the linears' weights and, of the block `vectors`, of all vectors.

        Vectors are the biases of its linears and the weights and biases of its norms.
        """
        self.linears, self._kinds, self._windows = linears, accumulators, windows
        self._norms = {} if vectors is None else _copies_of_norms(vectors)
        self._modules = {name: vectors.get_submodule(name) for name in self._norms} | {**linears}
        self._accumulators = {name: self._new(linear.weight) for name, linear in linears.items()}
        for name, module in self._modules.items() if vectors is not None else ():
            for leaf, parameter in module.named_parameters(recurse=False):
                if parameter.dim() == 1:
                    self._accumulators[f"{name}.{leaf}"] = self._new(parameter)

    def _new(self, parameter: nn.Parameter) -> dict[str, GradientAccumulator]:
        return {key: kind(parameter, self._windows) for key, kind in self._kinds.items()}

    @contextlib.contextmanager
    def backward_pass(self, scales: Sequence[float]) -> Iterator[None]:
        """Context of a forward and backward pass; each window's gradient is times its scale."""
        handles = [
            module.register_forward_hook(self._listener(name, scales))
            for name, module in self._modules.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _listener(self, name: str, scales: Sequence[float]) -> Callable:
        update = self._update_norm if name in self._norms else self._update_linear

        def listen(module: nn.Module, args: tuple, outputs: torch.Tensor) -> None:
            split = split_by_window(module, len(scales))
            inputs = split(args[0].detach())
            outputs.register_hook(
                lambda output: self._update(name, inputs, split(output), scales, update)
            )

        return listen

    def _update(
        self,
        name: str,
        inputs: dict[int, torch.Tensor],
        gradients: dict[int, torch.Tensor],
        scales: Sequence[float],
        update: Callable[[str, torch.Tensor, torch.Tensor, float], None],
    ) -> None:
        for number, window in inputs.items():
            dtype = torch.promote_types(window.dtype, torch.float32)
            update(name, gradients[number].to(dtype), window.to(dtype), scales[number])

    def _update_linear(
        self, name: str, left: torch.Tensor, right: torch.Tensor, scale: float
    ) -> None:
        """Adds a window, by its outputs' gradient [tokens, rows] and its inputs [tokens, columns]."""
        for accumulator in self._accumulators.get(f"{name}.bias", {}).values():
            accumulator.update(left.sum(0) * scale)
        accumulators = list(self._accumulators[name].values())
        if len(accumulators) == 1:
            accumulators[0].update_product(left, right, scale)
            return
        product = (left * scale).T @ right
        for accumulator in accumulators:
            accumulator.update(product)

    def _update_norm(
        self, name: str, left: torch.Tensor, right: torch.Tensor, scale: float
    ) -> None:
        """Adds a window: the outputs' gradient and the inputs, both [tokens or heads, width]."""
        leaves = dict(self._norms[name].named_parameters())
        with torch.enable_grad():
            outputs = self._norms[name](right)
        gradients = torch.autograd.grad(outputs, list(leaves.values()), left * scale)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            for accumulator in self._accumulators[f"{name}.{leaf}"].values():
                accumulator.update(gradient)

    def accumulators(self) -> dict[str, dict[str, GradientAccumulator]]:
        """The accumulators of each linear and vector, by their names."""
        return self._accumulators

    def statistics(self) -> dict[str, GradientStatistics]:
        """The accumulators' values, by the names of linears and vectors."""
        return {
            name: GradientStatistics({key: a.value for key, a in accumulators.items()})
            for name, accumulators in self._accumulators.items()
        }


def _copies_of_norms(block: nn.Module) -> dict[str, nn.Module]:
    """Copies of a block's norms whose parameters autograd follows, in float32 or float64, by name."""
    copies = {}
    for name, norm in norms(block):
        parameters = list(norm.parameters())
        if parameters:
            dtype = torch.promote_types(parameters[0].dtype, torch.float32)
            copies[name] = copy.deepcopy(norm).to(dtype).requires_grad_()
    return copies
