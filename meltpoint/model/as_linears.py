"""Turns matrices that are no `nn.Linear` in transformers' models into linears.

GPT-2's `Conv1D` holds its weight transposed, and most mixtures of experts hold the matrices of all
experts of a block in one parameter. Here each matrix becomes a linear of its own, so that every
method sees it. A `View` says which part of the library's parameter a linear's weight or bias is.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True)
class View:
    """The part of a library's parameter that a linear holds.

    `source` is the parameter's name, `shape` its shape. To find the part, take index `expert` of the
    first axis (None: all of it), transpose a matrix that is stored as [columns, rows], and take `rows`.
    """

    source: str
    shape: tuple[int, ...]
    expert: int | None = None
    transposed: bool = False
    rows: tuple[int | None, ...] = (None,)

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part, [rows, columns] or [rows], of the library's parameter, without a copy."""
        tensor = tensor if self.expert is None else tensor[self.expert]
        return (tensor.T if self.transposed else tensor)[slice(*self.rows)]

    def below(self, path: str) -> "View":
        """View of the parameter in a module at a path."""
        return View(f"{path}{self.source}", self.shape, self.expert, self.transposed, self.rows)


class TransposedLinear(nn.Linear):
    """A linear whose weight transformers stores transposed, as a `Conv1D`."""

    def views(self) -> dict[str, View]:
        """The view of the weight, by its name."""
        return {"weight": View("weight", tuple(self.weight.T.shape), transposed=True)}


class ExpertLinear(nn.Linear):
    """A linear of an expert; `sent` are its tokens' indices and the number of tokens in the batch."""

    sent: tuple[torch.Tensor, int] | None = None


class Expert(nn.Module):
    """One expert of a mixture; `gate` combines the outputs of its input linears."""

    def __init__(self, linears: dict[str, ExpertLinear], gate: "Gate") -> None:
        super().__init__()
        for name, linear in linears.items():
            self.add_module(name, linear)
        self.__dict__["gate"] = gate

    def forward(self, hidden: torch.Tensor, sent: torch.Tensor, count: int) -> torch.Tensor:
        """Outputs for `hidden`, the states of the tokens at indices `sent` out of `count`."""
        for linear in self.children():
            linear.sent = (sent, count)
        gated = self.gate_proj(hidden) if hasattr(self, "gate_proj") else None
        return self.down_proj(self.gate(gated, self.up_proj(hidden)))


class Gate:
    """Combines an expert's gate and up projections as the architecture does."""

    def __init__(self, experts: nn.Module) -> None:
        self.experts = experts

    def __call__(self, gate: torch.Tensor | None, up: torch.Tensor) -> torch.Tensor:
        """The inputs of the down projection; `gate` is None for experts that have none."""
        if gate is None:
            return self.experts.act_fn(up)
        if self.experts.is_concatenated:
            return self.experts._apply_gate(torch.cat((gate, up), dim=-1))
        return self.experts._apply_gate(torch.stack((gate, up), dim=-1).flatten(-2))


class Experts(nn.Module):
    """The experts of a block, each with linears of its own.

    Experts in `every_token` run on all tokens, not only on those that the router sends them, so that
    their linears have inputs. The block's outputs stay the same.
    """

    def __init__(self, fused: nn.Module) -> None:
        super().__init__()
        self._views: dict[str, View] = {}
        self.every_token: set[int] = set()
        for number in range(fused.down_proj.shape[0]):
            linears = {name: self._linear(fused, number, name) for name in _projections(fused)}
            self.add_module(str(number), Expert(linears, Gate(fused)))
        for name, parameter in list(fused._parameters.items()):
            fused._parameters[name] = nn.Parameter(parameter.new_empty(0), requires_grad=False)

    def _linear(self, fused: nn.Module, number: int, name: str) -> ExpertLinear:
        parameter, rows = _place(fused, name)
        views = {"weight": _view(fused, parameter, number, rows, fused.is_transposed)}
        if fused.has_bias:
            views["bias"] = _view(fused, f"{parameter}_bias", number, rows)
        self._views |= {f"{number}.{name}.{leaf}": view for leaf, view in views.items()}
        parts = {leaf: view.of(getattr(fused, view.source)) for leaf, view in views.items()}
        rows, columns = parts["weight"].shape
        linear = ExpertLinear(columns, rows, bias=fused.has_bias, device="meta")
        for leaf, part in parts.items():
            setattr(linear, leaf, nn.Parameter(part.to("meta"), requires_grad=False))
        return linear

    def views(self) -> dict[str, View]:
        """The views of the linears' weights and biases, by their names."""
        return self._views

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """The experts' outputs, weighted and summed for each token."""
        hidden = hidden_states.reshape(-1, hidden_states.shape[-1])
        outputs, everything = torch.zeros_like(hidden), torch.arange(len(hidden)).to(hidden.device)
        for number, expert in enumerate(self.children()):
            tokens, places = torch.where(top_k_index == number)
            if number in self.every_token:
                expert(hidden, everything, len(hidden))
            if len(tokens):
                output = expert(hidden[tokens], tokens, len(hidden))
                output = output * top_k_weights[tokens, places, None]
                outputs = outputs.index_add(0, tokens, output.to(outputs.dtype))
        return outputs.reshape(hidden_states.shape)


def _projections(fused: nn.Module) -> tuple[str, ...]:
    return ("gate_proj", "up_proj", "down_proj") if fused.has_gate else ("up_proj", "down_proj")


def _place(fused: nn.Module, name: str) -> tuple[str, tuple[int | None, ...]]:
    """Name of the library's parameter that holds a projection, and the projection's rows in it."""
    if name == "down_proj" or not fused.has_gate:
        return name, (None,)
    half = fused.gate_up_proj.shape[2 if fused.is_transposed else 1] // 2
    first = name == "gate_proj"
    if fused.is_concatenated:
        return "gate_up_proj", (0, half) if first else (half, 2 * half)
    return "gate_up_proj", (0 if first else 1, None, 2)


def _view(fused: nn.Module, name: str, number: int, rows: tuple, transposed: bool = False) -> View:
    return View(name, tuple(getattr(fused, name).shape), number, transposed, rows)


def use_linears(model: nn.Module) -> None:
    """Replaces `Conv1D`s and fused experts by linears, in a model without weights, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            model.set_submodule(name, _transposed(module))
        elif is_fused(module):
            model.set_submodule(name, Experts(module))


def is_fused(module: nn.Module) -> bool:
    """True for experts in the library's common interface, whose layout their attributes tell."""
    interface = ("is_transposed", "is_concatenated", "has_gate", "has_bias", "_apply_gate")
    return all(hasattr(module, name) for name in interface) and set(module._parameters) == {
        f"{name}{suffix}"
        for name in ("gate_up_proj" if module.has_gate else "up_proj", "down_proj")
        for suffix in ("", "_bias")[: 1 + module.has_bias]
    }


def _transposed(module: Conv1D) -> TransposedLinear:
    columns, rows = module.weight.shape
    linear = TransposedLinear(columns, rows, bias=module.bias is not None, device="meta")
    linear.weight = nn.Parameter(module.weight.T, requires_grad=False)
    linear.bias = module.bias
    return linear


def views(module: nn.Module, path: str = "") -> dict[str, View]:
    """Views of the parameters in a module that are parts of a library's parameter, by name."""
    prefix = f"{path}." if path else ""
    return {
        f"{prefix}{name}.{leaf}": view.below(f"{prefix}{name}.")
        for name, part in module.named_modules()
        if isinstance(part, TransposedLinear | Experts)
        for leaf, view in part.views().items()
    }


def split_by_window(
    linear: nn.Module, windows: int
) -> Callable[[torch.Tensor], dict[int, torch.Tensor]]:
    """A function that splits a linear's inputs or outputs by window, into [tokens, channels] each.

    The linear of an expert has only the tokens that the router sent it in the current run. Any other
    linear has all tokens, in their order.
    """
    if not isinstance(linear, ExpertLinear):
        return lambda tensor: dict(enumerate(tensor.reshape(windows, -1, tensor.shape[-1])))
    tokens, count = linear.sent
    of_window = tokens // (count // windows)
    return lambda tensor: {
        number: tensor[of_window == number] for number in of_window.unique().tolist()
    }


def experts_of(block: nn.Module) -> dict[str, Experts]:
    """The mixtures of experts of a block, by name."""
    return {name: module for name, module in block.named_modules() if isinstance(module, Experts)}


@contextlib.contextmanager
def sent_everything(block: nn.Module, linears: Iterable[str]) -> Iterator[list[str]]:
    """Context in which the experts that own these linears get all tokens; yields the experts' names."""
    sent = {}
    for path, experts in experts_of(block).items():
        of_linears = {
            name.removeprefix(f"{path}.") for name in linears if name.startswith(f"{path}.")
        }
        experts.every_token = {int(name.partition(".")[0]) for name in of_linears}
        sent |= {f"{path}.{number}": experts for number in sorted(experts.every_token)}
    try:
        yield list(sent)
    finally:
        for experts in sent.values():
            experts.every_token = set()
