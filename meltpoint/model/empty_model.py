"""A model without its weights: built from its config, filled from its files part by part."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest.mock import patch

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from meltpoint.checkpoints.description import Description
from meltpoint.errors import MeltpointError
from meltpoint.model import shaped
from meltpoint.model.as_linears import use_linears
from meltpoint.model.attention import needs_eager
from meltpoint.model.block_parts import linears
from meltpoint.model.configs import cannot_build, read_config

transformers_logging.set_verbosity_error()

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def build(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a checkpoint, with its parameters on the meta device and its buffers in memory.

    If the checkpoint's description gives other shapes than the config, the model has these. Raises
    MeltpointError for a config that cannot be read or needs remote code, and for a description of an
    older version.
    """
    description = Description.of(folder)
    config = read_config(folder, dtype)
    try:
        model = from_config(config, dtype)
    except Exception as error:
        raise cannot_build(folder, error) from None
    if description and description.shapes and description.shapes.irregular:
        shaped.apply(model, decoder_blocks(model)[1], description.shapes)
        model.tie_weights()
    return model.requires_grad_(False)


def from_config(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a config, with its parameters on the meta device and its buffers in memory."""
    with init_empty_weights(include_buffers=False), nothing_drawn():
        model = _construct(config, dtype)
        if needs_eager(model):
            model = _construct(config, dtype, attn_implementation="eager")
    use_linears(model)
    # Under init_empty_weights every assignment makes a new parameter, which unties the embeddings.
    model.tie_weights()
    return model.eval().requires_grad_(False)


def _construct(config: PreTrainedConfig, dtype: torch.dtype, **options: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False, **options)


def attention_of(folder: Path) -> str:
    """Name of the attention implementation that a checkpoint's config asks for."""
    return build(folder, torch.float32).config.get_text_config()._attn_implementation


def decoder_blocks(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Name of the decoder's list of blocks in the model, and the list.

    It is found as the only list of modules of one class whose length is the config's number of layers.
    """
    depth = model.config.get_text_config().num_hidden_layers
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) == depth
        and len({type(block) for block in module}) == 1
        and any(linears(block) for block in module)
    ]
    # A block may have as many experts as the model has blocks; the outer list is meant.
    outer = [(n, m) for n, m in found if not any(n.startswith(f"{other}.") for other, _ in found)]
    if len(outer) != 1:
        raise MeltpointError(
            f"{type(model).__name__}: {len(outer)} lists of {depth} decoder blocks with linear "
            "layers were found, one was expected: this architecture is not supported"
        )
    return outer[0]


def parameters_of(model: nn.Module, module: nn.Module, prefix: str) -> list[str]:
    """Names, in the model's checkpoint, of a module's parameters; tied ones by their first name."""
    stored = dict(model.named_parameters()) | dict(persistent_buffers(model))
    names = (f"{prefix}.{name}" if prefix else name for name in module.state_dict())
    return [name for name in names if name in stored]


def tied_names(model: nn.Module) -> dict[str, list[str]]:
    """Other names of each tied parameter, by its first name. A checkpoint may use any of them."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {first: others for first, *others in names.values() if others}


def tie(model: nn.Module, names: dict[str, list[str]]) -> None:
    """Puts each tied parameter in its other places too; `names` is the result of `tied_names`.

    `tie_weights` of transformers would not do here: for some models it copies from another name than
    the first, which is the one that was filled.
    """
    for first, others in names.items():
        parameter = model.get_parameter(first)
        for name in others:
            owner, _, leaf = name.rpartition(".")
            model.get_submodule(owner)._parameters[leaf] = parameter


def persistent_buffers(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The buffers that belong in a checkpoint."""
    kept = model.state_dict()
    return ((name, buffer) for name, buffer in model.named_buffers() if name in kept)


def fill(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Puts tensors in the places of the model's parameters and buffers of the same names.

    Raises MeltpointError for a tensor of another shape than its parameter.
    """
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        if leaf in module._parameters:
            if tensor.shape != module._parameters[leaf].shape:
                raise MeltpointError(
                    f"{name} has shape {list(tensor.shape)} in the checkpoint, "
                    f"{list(module._parameters[leaf].shape)} by the config: they do not belong together"
                )
            module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
        else:
            module._buffers[leaf] = tensor


def empty(model: nn.Module, names: Iterable[str]) -> None:
    """Moves these parameters back to the meta device, which frees their weights."""
    for name in names:
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        if leaf in module._parameters:
            meta = module._parameters[leaf].to("meta")
            module._parameters[leaf] = nn.Parameter(meta, requires_grad=False)


@contextlib.contextmanager
def nothing_drawn() -> Iterator[None]:
    """Context in which parameters on the meta device are not initialised at random.

    torch has no such operation on the meta device. To decompose one it imports its compiler, which
    would be a third of a job's imports.
    """
    draw = nn.init._no_grad_normal_

    def draw_real(tensor: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        return tensor if tensor.is_meta else draw(tensor, *args, **kwargs)

    with patch.object(nn.init, "_no_grad_normal_", draw_real):
        yield


def move_buffers(model: nn.Module, device: torch.device) -> None:
    """Moves the buffers, such as rotary frequencies, to the device."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device.type != "meta":
                module._buffers[name] = buffer.to(device)
