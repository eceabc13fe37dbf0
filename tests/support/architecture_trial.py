"""What becomes of a tiny model of an architecture: plain transformers and Meltpoint side by side."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel

from meltpoint.checkpoints.description import Description
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.engines import open_engine
from meltpoint.model.base_models import link
from meltpoint.model.load import load
from tests.support.steps import run
from tests.support.tiny_architectures import save_tiny
from tests.support.tiny_models import random_tokens

CPU = torch.device("cpu")
STEP = "wanda@0.5"


@dataclass(frozen=True)
class Trial:
    """The outcome, "runs", "refused" or "no tiny model", the reason, and the largest difference.

    The difference is in a token's loss, between plain transformers and each of Meltpoint's ways.
    """

    outcome: str
    reason: str = ""
    difference: float = 0.0


def try_out(name: str, folder: Path) -> Trial:
    """Links, runs, streams and prunes a tiny model of an architecture."""
    ids = random_tokens(3, 24)
    try:
        save_tiny(name, folder / "source")
        plain = losses(_plain(folder / "source"), ids)
    except Exception as error:
        return Trial(
            "no tiny model", f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        )
    try:
        link(folder / "source", folder / "base", "m")
    except MeltpointError as error:
        return Trial("refused", str(error).removeprefix("m: ").replace(f"{folder}/source: ", ""))
    found = [
        losses(load(folder / "base", torch.float32, CPU), ids),
        _streamed(folder / "base", ids),
    ]
    difference = max((plain - each).abs().max().item() for each in found)
    np.save(folder / "windows.npy", ids.numpy())
    target = run(folder / "base", folder / "pruned", STEP, folder / "windows.npy")
    if (description := Description.read(target)).status != "ok":
        return Trial("runs", f"{STEP}: {description.reason}", difference)
    pruned = losses(_plain(target), ids), losses(load(target, torch.float32, CPU), ids)
    return Trial("runs", "", max(difference, (pruned[0] - pruned[1]).abs().max().item()))


def losses(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """The loss of each predicted token [texts, tokens - 1]."""
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")


def _plain(folder: Path) -> PreTrainedModel:
    """The model in transformers, with eager attention where there is one and it does not look ahead."""
    with contextlib.suppress(ValueError):
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        ids = random_tokens(1, 8)
        changed = torch.cat((ids[:, :-1], (ids[:, -1:] + 1) % 90), dim=1)
        if torch.allclose(losses(model, ids)[:, :-1], losses(model, changed)[:, :-1], atol=1e-4):
            return model
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def _streamed(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    with open_engine(folder, Compute(device="cpu", stream=True, batch=1)) as engine:
        return torch.from_numpy(engine.nll(ids.numpy()))
