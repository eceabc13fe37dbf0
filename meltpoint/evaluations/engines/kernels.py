"""The kernels of the library that packed a checkpoint; plain weights run in transformers.

Speed is measured on this engine, as it runs a checkpoint in the way of its users.
"""

import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.checkpoints.adapter import adapter_of
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import holds_gguf, quantization_config
from meltpoint.compute import Compute
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from meltpoint.evaluations.engines._kernels_engine import KernelsEngine

label = "the kernels of a library"
kernels = (True,)
env = "torch"
streams = False
sources = (__name__,)

# Modules that `from_pretrained` imports, by the names of the formats of checkpoints.
LIBRARIES = {
    "gptq": "gptqmodel",
    "compressed-tensors": "compressed_tensors",
    "bitsandbytes": "bitsandbytes",
    "hqq": "hqq.core.quantize",
}


def opens(checkpoint: Path) -> bool:
    """True for a folder with safetensors, which is any folder without a GGUF file."""
    return not holds_gguf(checkpoint)


def open(checkpoint: Path, compute: Compute) -> "KernelsEngine":
    """The engine of the model as its users load it; the import of a library is not timed.

    Raises NotApplicable for a checkpoint with an adapter beside its weights.
    """
    from meltpoint.evaluations.engines._kernels_engine import KernelsEngine

    if adapter_of(checkpoint) is not None:
        raise NotApplicable(
            "an adapter is kept beside the quantised base, and the base's kernels would run without it"
        )
    module = LIBRARIES.get(_format(checkpoint))
    if module:
        importlib.import_module(module)
    start = time.perf_counter()
    model = load(checkpoint, compute)
    if compute.torch_device.type == "cuda":
        torch.cuda.synchronize(compute.torch_device)
    seconds = time.perf_counter() - start
    return KernelsEngine(model, compute, seconds, module.split(".")[0] if module else None)


def load(checkpoint: Path, compute: Compute) -> "PreTrainedModel":
    """The model with the kernels that `from_pretrained` chooses, or hqq's own.

    A model whose shapes no config can express is built from its description.
    """
    if _format(checkpoint) == "hqq":
        from meltpoint.evaluations.engines import _hqq

        return _hqq.load(checkpoint, compute)
    description = Description.of(checkpoint)
    if description and description.shapes and description.shapes.irregular:
        from meltpoint.model.load import load as load_shaped

        return load_shaped(checkpoint, compute.torch_dtype, compute.torch_device)
    from transformers import AutoModelForCausalLM

    from meltpoint.model.empty_model import attention_of

    return AutoModelForCausalLM.from_pretrained(
        checkpoint,
        dtype=compute.torch_dtype,
        attn_implementation=attention_of(checkpoint),
        device_map={"": compute.torch_device},
        trust_remote_code=False,
        local_files_only=True,
    ).eval()


def _format(checkpoint: Path) -> str | None:
    return (quantization_config(checkpoint) or {}).get("quant_method")
