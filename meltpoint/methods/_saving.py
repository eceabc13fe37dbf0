"""Saving a model that a quantization library holds as a model of transformers."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save_model(model: "PreTrainedModel", target: Path) -> None:
    """Saves config and weights. `copy_missing` later copies the source's own generation config.

    transformers refuses to write some generation configs that it can read, such as Vicuna's temperature
    without sampling.
    """
    from transformers import GenerationConfig
    from transformers.utils import GENERATION_CONFIG_NAME

    from meltpoint.checkpoints.io import share

    model.generation_config = GenerationConfig()
    model.save_pretrained(target)
    (target / GENERATION_CONFIG_NAME).unlink(missing_ok=True)
    for file in target.glob("*.safetensors"):
        share(file)
