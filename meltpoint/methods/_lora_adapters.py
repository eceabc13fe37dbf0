"""The trained part of a model: adapters of peft at some linears, or the linears' weights."""

import re
from collections.abc import Mapping

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Linear
from torch import nn

from meltpoint.methods._lora_settings import Settings

# peft's name of the one adapter.
NAME = "default"


class MaskedLinear(Linear):
    """A linear with an adapter whose update is multiplied by a mask, bool [rows, columns] or None."""

    mask: torch.Tensor | None = None

    def update(self) -> torch.Tensor:
        """Update of the weight, [rows, columns]."""
        update = self.get_delta_weight(NAME)
        return update if self.mask is None else update * self.mask

    def forward(self, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        """Outputs of the linear with its update."""
        if self.mask is None:
            return super().forward(x, *args, **kwargs)
        inputs = self.lora_dropout[NAME](x.to(self.lora_A[NAME].weight.dtype))
        outputs = self.base_layer(x)
        return outputs + nn.functional.linear(inputs, self.update()).to(outputs.dtype)


class Adapters:
    """Adapters of a model's linears, in float32, put into the model in place.

    ranks: rank of each linear's adapter by name; a matrix narrower than the setting has the rank of its
    width. masks: masks of the weights that may change, for some of the linears by name.
    """

    def __init__(
        self,
        model: nn.Module,
        ranks: Mapping[str, int],
        masks: Mapping[str, torch.Tensor],
        settings: Settings,
    ) -> None:
        scale = settings.alpha / settings.rank
        self.masked = set(masks)
        self.config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(ranks),
            rank_pattern={re.escape(name): rank for name, rank in ranks.items()},
            alpha_pattern={re.escape(name): scale * rank for name, rank in ranks.items()},
        )
        self.config._register_custom_module({nn.Linear: MaskedLinear})
        inject_adapter_in_model(self.config, model, NAME)
        self.layers = {name: model.get_submodule(name) for name in ranks}
        for name, layer in self.layers.items():
            layer.mask = masks.get(name)
            for part in (layer.lora_A[NAME], layer.lora_B[NAME]):
                part.weight = nn.Parameter(part.weight.data.float())

    def parameters(self) -> dict[str, nn.Parameter]:
        """Trained parameters by their names in peft's files: A [rank, columns] and B [rows, rank]."""
        return {
            f"base_model.model.{name}.lora_{letter}.weight": part[NAME].weight
            for name, layer in self.layers.items()
            for letter, part in (("A", layer.lora_A), ("B", layer.lora_B))
        }

    @torch.no_grad()
    def weight(self, name: str, before: torch.Tensor) -> torch.Tensor:
        """Weight of a linear after the training, in the dtype that it had before."""
        if name not in self.layers:
            return before
        return (before.float() + self.layers[name].update().float()).to(before.dtype)


class Weights:
    """The weights of a model's linears, trained in float32 in the model itself."""

    def __init__(
        self, model: nn.Module, names: Mapping[str, int], masks: Mapping[str, torch.Tensor]
    ) -> None:
        self.linears = {name: model.get_submodule(name) for name in names}
        for name, linear in self.linears.items():
            linear.weight = nn.Parameter(linear.weight.data.float())
            if name in masks:
                # A gradient of zero leaves a weight of zero as it is, with any decay.
                linear.weight.register_hook(masks[name].mul)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Trained weights by their names."""
        return {f"{name}.weight": linear.weight for name, linear in self.linears.items()}

    @torch.no_grad()
    def weight(self, name: str, before: torch.Tensor) -> torch.Tensor:
        """Weight of a linear after the training, in the dtype that it had before."""
        return self.linears[name].weight.to(before.dtype) if name in self.linears else before
