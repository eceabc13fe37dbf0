"""Reads the texts that a step is trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from meltpoint.data.corpora import check_vocabulary
from meltpoint.data.training_text import TrainingText
from meltpoint.model.empty_model import build


def read_texts(parent: Path, texts: Mapping[str, Sequence[Path]]) -> dict[str, TrainingText]:
    """The texts by their use.

    Raises MeltpointError for a file that holds no tokens, and for tokens outside the vocabulary of the
    checkpoint `parent`.
    """
    if not texts:
        return {}
    vocabulary = build(parent, torch.float32).config.get_text_config().vocab_size
    found = {use: TrainingText.read(files) for use, files in texts.items()}
    for text in found.values():
        check_vocabulary(text.tokens, vocabulary, str(text.source))
    return found
