"""Chains of methods that cut heads and neurons, on tiny models of four blocks."""

from pathlib import Path

import numpy as np
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.model import empty_model
from meltpoint.model.load import load
from tests.support.steps import run
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")
WINDOWS = random_tokens(6, 32)
IDS = random_tokens(2, 20, seed=3)


class Chains:
    """Checkpoints of chains in a folder, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        np.save(folder / "windows.npy", WINDOWS.numpy())

    def made(self, family: str, chain: str = "", **compute) -> Path:
        """The checkpoint of a family's chain, which applies or not."""
        target = self.folder / f"{family}-{chain}{''.join(map(str, compute.values()))}"
        if target.exists():
            return target
        if not chain:
            return save_model(target, family, num_hidden_layers=4)
        prefix, _, step = chain.rpartition("+")
        parent = self.made(family, prefix, **compute)
        return run(parent, target, step, self.folder / "windows.npy", **compute)

    def reason(self, family: str, chain: str) -> str | None:
        """Why a chain does not apply; None where it does."""
        return Description.read(self.made(family, chain)).reason

    def achieved(self, family: str, chain: str) -> float:
        """Fraction of the dense decoder's parameters that a chain removes."""
        description = Description.read(self.made(family, chain))
        assert description.status == "ok", description.reason
        return description.achieved.parameters

    def model(self, family: str, chain: str = "") -> torch.nn.Module:
        """The model of a chain."""
        return load(self.made(family, chain), torch.float32, CPU)

    def blocks(self, family: str, chain: str = "") -> torch.nn.ModuleList:
        """The decoder blocks of a chain's model."""
        return empty_model.decoder_blocks(self.model(family, chain))[1]

    def logits(self, family: str, chain: str = "") -> torch.Tensor:
        """Logits of a chain's model on some tokens."""
        with torch.no_grad():
            return self.model(family, chain)(IDS, use_cache=False).logits
