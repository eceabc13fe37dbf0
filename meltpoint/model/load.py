"""A whole model from a checkpoint."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from meltpoint.checkpoints.io import Reader
from meltpoint.model import empty_model
from meltpoint.model.running import guard
from meltpoint.model.stored_layout import follow


def load(folder: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The model of a checkpoint, ready to run, in evaluation mode.

    Raises MeltpointError for a checkpoint that is incomplete, does not fit its config, or holds
    weights that are not finite.
    """
    model = empty_model.build(folder, dtype)
    fill(model, folder, device)
    return model


def fill(model: PreTrainedModel, folder: Path, device: torch.device) -> None:
    """Fills an empty model with its checkpoint's weights, on the device.

    Weights that a quantization library has packed are decoded. If its kernels quantise activations too,
    the linears of the model do the same.
    """
    empty_model.move_buffers(model, device)
    reader = Reader(folder, model.dtype, device)
    tied = follow(reader, model)
    empty_model.fill(model, reader.read(empty_model.parameters_of(model, model, "")))
    empty_model.tie(model, tied)
    guard(model, folder)
    if reader.format is not None and (inputs := reader.format.inputs()):
        quantize_inputs(model, reader, inputs)


def quantize_inputs(model: PreTrainedModel, reader: Reader, inputs: Callable) -> None:
    """Hooks `inputs`, a format's rounding of activations, before each linear stored in that format."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and reader.parts(f"{name}.weight"):
            module.register_forward_pre_hook(lambda _, given: (inputs(given[0]), *given[1:]))
