"""Chains on tiny models of eight blocks, for the methods that remove blocks."""

import json
from pathlib import Path

import numpy as np
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load
from tests.support.steps import run
from tests.support.tiny_models import CONFIGS, random_tokens, save_model

CPU = torch.device("cpu")
WINDOWS = random_tokens(5, 24, seed=7)


def deep_model(folder: Path, family: str = "llama", blocks: int = 8) -> Path:
    """A tiny model of a family with so many blocks, made where it is not there yet."""
    changes = {"layer_types": None} if hasattr(CONFIGS[family], "layer_types") else {}
    # transformers' last hidden state is then that behind the final norm, as everywhere else.
    changes |= {"word_embed_proj_dim": 64} if family == "opt" else {}
    target = folder / f"{family}-{blocks}"
    if not target.exists():
        save_model(target, family, num_hidden_layers=blocks, **changes)
    return target


def run_chain(parent: Path, chain: str) -> Path:
    """Checkpoint of a chain, made beside `parent` step by step, each once."""
    np.save(parent.with_name("windows.npy"), WINDOWS.numpy())
    for step in chain.split("+"):
        target = parent.with_name(f"{parent.name}+{step}")
        if not target.exists():
            run(parent, target, step, parent.with_name("windows.npy"))
        parent = target
    return parent


def reason(parent: Path, step: str) -> str | None:
    """Why a step does not apply; None where it does."""
    return Description.read(run_chain(parent, step)).reason


def searched(checkpoint: Path) -> dict:
    """What the search of a checkpoint's step found."""
    return json.loads(Path(f"{checkpoint}-search.json").read_text())["values"]


def logits_of(checkpoint: Path) -> torch.Tensor:
    with torch.no_grad():
        return load(checkpoint, torch.float32, CPU)(WINDOWS).logits


class BlockPasses:
    """Counts the windows that go through blocks, in passes of all windows."""

    def __init__(self, monkeypatch, windows: int) -> None:
        self.windows, self._seen, forward = windows, 0, Walk.forward

        def counted(walk, index, batch, *args, **kwargs):
            self._seen += batch.stop - batch.start
            return forward(walk, index, batch, *args, **kwargs)

        monkeypatch.setattr(Walk, "forward", counted)

    @property
    def count(self) -> float:
        return self._seen / self.windows
