"""transformers: weights that a library has packed are decoded into plain ones.

Perplexity is measured on this engine, in one way for all formats. A model that does not fit in memory
is streamed.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.checkpoints.formats import holds_gguf
from meltpoint.compute import Compute
from meltpoint.timing import phase

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._model_engine import ModelEngine
    from meltpoint.evaluations.engines._streamed import StreamedEngine

label = "transformers"
kernels = (False,)
env = "torch"
streams = True
sources = (__name__,)


def opens(checkpoint: Path) -> bool:
    """True for a folder with safetensors, which is any folder without a GGUF file."""
    return not holds_gguf(checkpoint)


def open(checkpoint: Path, compute: Compute) -> "ModelEngine | StreamedEngine":
    """The engine with the model in memory, or a streaming one.

    `compute.stream` decides; with `auto` a model is streamed if it does not fit in memory.
    """
    with phase("import"):
        from meltpoint.evaluations.engines._fits import fits
        from meltpoint.evaluations.engines._model_engine import ModelEngine
        from meltpoint.evaluations.engines._streamed import StreamedEngine
        from meltpoint.model import empty_model
        from meltpoint.model.load import fill

    start = time.perf_counter()
    model = empty_model.build(checkpoint, compute.torch_dtype)
    if compute.stream is True or (compute.stream == "auto" and not fits(model, compute)):
        return StreamedEngine(checkpoint, model, compute)
    fill(model, checkpoint, compute.torch_device)
    return ModelEngine(model, compute, time.perf_counter() - start)
