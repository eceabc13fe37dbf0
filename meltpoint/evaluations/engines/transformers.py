"""transformers: weights that a library has packed are decoded into plain ones.

Perplexity is measured so, in one way for all formats. A model that does not fit in memory is streamed.
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
    """True for a folder that holds safetensors."""
    return not holds_gguf(checkpoint)


def open(checkpoint: Path, compute: Compute) -> "ModelEngine | StreamedEngine":
    """The model in memory; streamed if `compute.stream` says so, or if it does not fit."""
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
