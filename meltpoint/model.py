"""A whole model from a checkpoint."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from meltpoint import skeleton
from meltpoint.checkpoint import Reader


def load(folder: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The model of a checkpoint, ready to run, in evaluation mode.

    Raises MeltpointError for a checkpoint that is incomplete, does not fit its config, or holds
    weights that are not finite.
    """
    model = skeleton.build(folder, dtype)
    skeleton.move_buffers(model, device)
    reader = Reader(folder, dtype, device)
    reader.tie(skeleton.tied_names(model))
    skeleton.fill(model, reader.read(skeleton.parameters_of(model, model, "")))
    model.tie_weights()
    return model
