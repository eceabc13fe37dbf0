"""Checks of an export's two folders, made before torch is imported."""

from pathlib import Path

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import holds_gguf
from meltpoint.errors import MeltpointError, NotApplicable


def check_folders(checkpoint: Path, target: Path) -> None:
    """Raises MeltpointError for a folder that is no checkpoint, or a target that exists.

    Raises NotApplicable if no ordinary folder can give the checkpoint's logits.
    """
    description = Description.of(checkpoint)
    if description is None:
        raise MeltpointError(
            f"{checkpoint} has no meltpoint.json: name the folder `checkpoint` of a chain, or a model"
        )
    if target.exists():
        raise MeltpointError(f"{target} is there already: name a folder that is not")
    if description.status != "ok":
        raise NotApplicable(f"its step did not apply: {description.reason}")
    if holds_gguf(checkpoint):
        raise NotApplicable("it is a GGUF file, which llama.cpp runs as it is")
