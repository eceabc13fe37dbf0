"""Prodigy, an optimiser that estimates its own step size.

Adam's update with a step size d that only grows: its estimate is a weighted sum of ``<g, x0 - x>``
over the norm of the same weighted sum of the gradients g, with x0 the parameters at the start.

Mishchenko and Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", ICML 2024
(algorithm 4, the Adam version).
"""

import math

import torch


class Prodigy(torch.optim.Optimizer):
    """Algorithm 4 without weight decay or bias correction; one d for all parameters.

    `d_coef` scales the estimate, `d0` is where it starts; the attribute `d` is its present value.
    As in the authors' code epsilon is scaled by the d that a step has just estimated, the step
    itself by the one before.
    """

    def __init__(self, parameters, lr=1.0, betas=(0.9, 0.999), eps=1e-8, d0=1e-6, d_coef=1.0):
        super().__init__(parameters, {})
        self.lr, self.betas, self.eps, self.d_coef = lr, betas, eps, d_coef
        self.d = self.d0 = d0
        self.alignment = 0.0

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients at hand."""
        d, (first, second) = self.d, self.betas
        states = [(p, p.grad, self._state(p)) for g in self.param_groups for p in g["params"]]
        self._estimate(states)
        for parameter, gradient, state in states:
            state["mean"].mul_(first).add_(gradient, alpha=(1 - first) * d)
            state["square"].mul_(second).addcmul_(gradient, gradient, value=(1 - second) * d * d)
            spread = state["square"].sqrt().add_(self.d * self.eps)
            parameter.addcdiv_(state["mean"], spread, value=-self.lr * d)

    def _estimate(self, states) -> None:
        """Lets d grow to what the gradients so far say."""
        decay = math.sqrt(self.betas[1])
        # In units of d0 squared, which the ratio is free of: the sums would underflow.
        weight = (1 - decay) * self.lr * (self.d / self.d0) ** 2
        alignment = norm = 0
        for parameter, gradient, state in states:
            alignment += ((state["start"] - parameter) * gradient).sum().double()
            norm += state["sum"].mul_(decay).add_(gradient, alpha=weight).abs().sum().double()
        self.alignment = decay * self.alignment + weight * float(alignment)
        if norm > 0:
            self.d = max(self.d, self.d_coef * self.alignment / float(norm))

    def _state(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        state = self.state[parameter]
        if not state:
            zeros = {name: torch.zeros_like(parameter) for name in ("mean", "square", "sum")}
            state.update(zeros, start=parameter.detach().clone())
        return state
