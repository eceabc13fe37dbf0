"""llama.cpp: a GGUF file, as its users run it."""

from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.checkpoints.formats import GGUF, holds_gguf
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._llama_engine import LlamaEngine

label = "llama.cpp"
kernels = (False, True)
env = "llama"
streams = False
sources = (__name__,)


def opens(checkpoint: Path) -> bool:
    """True for a folder that holds a GGUF file."""
    return holds_gguf(checkpoint)


def open(checkpoint: Path, compute: Compute) -> "LlamaEngine":
    """The engine with the GGUF file loaded; raises MeltpointError for `compute.stream: true`."""
    from meltpoint.evaluations.engines._llama_engine import LlamaEngine

    if compute.stream is True:
        raise MeltpointError(
            f"compute.stream: true is not possible for {checkpoint / GGUF}, as llama.cpp holds whole "
            "models in memory: set it to auto"
        )
    return LlamaEngine(checkpoint / GGUF, compute)
