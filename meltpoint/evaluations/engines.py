"""Engines: the programs that run a checkpoint."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from meltpoint.checkpoints.formats import GGUF, holds_gguf
from meltpoint.compute import Compute
from meltpoint.lazy_import import torch
from meltpoint.progress import track

# Logits of a batch at float32 stay below this many numbers: 64 MiB on a CPU, 1 GiB on a GPU.
AUTO_LOGITS = {"cpu": 2**24, "cuda": 2**28}


class Engine:
    """What engines share."""

    name: str

    @property
    def provenance(self) -> dict[str, str]:
        """What a cell says of the engine."""
        return {"engine": self.name}


class TransformersEngine(Engine):
    """Runs a checkpoint in transformers."""

    name = "transformers"

    def __init__(self, checkpoint: Path, compute: Compute) -> None:
        from meltpoint.model.load import load

        self.model = load(checkpoint, compute.torch_dtype, compute.torch_device)
        self.compute = compute

    def nll(self, windows: np.ndarray) -> np.ndarray:
        """Negative log likelihoods of the predicted tokens in nats: float32 [windows, window - 1]."""
        return token_nll(self.model, windows, self.compute)


class LlamaEngine(Engine):
    """Runs a GGUF file in llama.cpp."""

    name = "llama.cpp"

    def __init__(self, checkpoint: Path, compute: Compute) -> None:
        self.file, self.compute = checkpoint / GGUF, compute

    def nll(self, windows: np.ndarray) -> np.ndarray:
        """Negative log likelihoods of the predicted tokens in nats: float32 [windows, window - 1]."""
        from meltpoint.llamacpp import runtime

        return runtime.token_nll(self.file, windows, self.compute)


@contextlib.contextmanager
def open_engine(checkpoint: Path, compute: Compute) -> Iterator[Engine]:
    """Yields the engine that runs a checkpoint."""
    yield (LlamaEngine if holds_gguf(checkpoint) else TransformersEngine)(checkpoint, compute)


def token_nll(model, windows: np.ndarray, compute: Compute) -> np.ndarray:
    """Negative log likelihoods of the predicted tokens in nats: float32 [windows, window - 1]."""
    length, vocabulary = windows.shape[1], model.config.get_text_config().vocab_size
    budget = {device: count // vocabulary for device, count in AUTO_LOGITS.items()}
    size = compute.batch_size(length, budget)
    batches = np.split(windows, range(size, len(windows), size))
    with torch.no_grad():
        return np.concatenate([_batch_nll(model, b, compute) for b in track(batches, "perplexity")])


def _batch_nll(model, windows: np.ndarray, compute: Compute) -> np.ndarray:
    from torch.nn import functional as F

    ids = torch.from_numpy(windows).long().to(compute.torch_device)
    logits = model(input_ids=ids, use_cache=False).logits
    rows = [F.cross_entropy(x[:-1].float(), y[1:], reduction="none") for x, y in zip(logits, ids)]  # noqa: B905
    return torch.stack(rows).cpu().numpy()
