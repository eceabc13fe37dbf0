"""Loads a checkpoint that hqq packed with hqq's own linears; transformers 5.17 cannot do it."""

from pathlib import Path

from hqq.core.quantize import HQQLinear
from transformers import PreTrainedModel

from meltpoint.compute import Compute
from meltpoint.model import empty_model
from meltpoint.model.decoded import Parts


def load(folder: Path, compute: Compute) -> PreTrainedModel:
    """The model, ready to run; hqq's kernels multiply its packed linears."""
    parts = Parts(folder, compute)
    model = empty_model.build(folder, compute.torch_dtype)
    empty_model.move_buffers(model, compute.torch_device)
    tied = empty_model.tied_names(model)
    packed = {f"{name}.weight" for name in parts.linears}
    empty_model.fill(model, parts.reader.read([name for name in parts.names if name not in packed]))
    empty_model.tie(model, tied)
    for name in parts.linears:
        model.set_submodule(name, _linear(parts, name, compute))
    return model


def _linear(parts: Parts, name: str, compute: Compute) -> HQQLinear:
    prefix = f"{name}."
    keys = {key.removeprefix(prefix): key for key in parts.reader.files if key.startswith(prefix)}
    layer = HQQLinear(
        None, None, compute_dtype=compute.torch_dtype, device=str(compute.torch_device)
    )
    layer.load_state_dict(parts.reader.stored(keys))
    return layer
