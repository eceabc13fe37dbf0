"""Computations on a pretended card: no tensor stays behind, and the numbers are the CPU's."""

import json
import subprocess
import sys

import pytest

from tests.support import hanging
from tests.support.contract_steps import METHODS, calibrated, first
from tests.support.project import ROOT
from tests.support.steps import spellings
from tests.support.tiny_models import save_model, save_windows

# Each part on both devices: its numbers, or what it raised.
PARTS = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from tests.support.pretend_card import DEVICE, card
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.evaluations.engines._model_engine import ModelEngine
from meltpoint.evaluations.engines._streamed import StreamedEngine
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load
from tests.support.steps import run

folder, given, *steps = map(Path, sys.argv[1:])
windows = np.load(given)[:3, :16].astype(np.int64)

def whole(device):
    return load(folder, torch.float32, torch.device(device))

def held(device):
    model = whole(device)
    return sorted({each.device.type for each in [*model.parameters(), *model.buffers()]})

def logits(device):
    parts = ModelEngine(whole(device), Compute(device=device)).logits(windows)
    return torch.cat([part.cpu() for part in parts]).flatten()[:200].tolist()

def losses(device):
    return ModelEngine(whole(device), Compute(device=device)).nll(windows).mean(axis=1).tolist()

def walk(device):
    reader = Reader(folder, torch.float32, torch.device(device))
    walked = Walk(reader, torch.from_numpy(windows), Compute(device=device))
    walked.embed()
    for index in range(len(walked.blocks)):
        empty_model.fill(walked.model, walked.reader.read(walked.names(index)))
        walked.advance(index)
    return walked.hidden.mean(dim=(1, 2)).tolist()

def streaming(device):
    compute = Compute(device=device)
    engine = StreamedEngine(folder, empty_model.build(folder, torch.float32), compute)
    return engine.nll(windows).mean(axis=1).tolist()

def mixed(device):
    return whole(device)(torch.zeros(1, 4).long()).logits.shape

def generator(device):
    return torch.rand(2, device=device, generator=torch.Generator()).tolist()

def step(spelled, device):
    target = folder.with_name(f"{spelled}-{device[:4]}")
    run(folder, target, spelled, given, device=device)
    found = Description.read(target)
    return [found.status, found.reason, list(found.achieved.model_dump().values())]

parts = [held, logits, losses, walk, streaming, mixed, generator]
tried = {part.__name__: part for part in parts}
tried |= {str(each): (lambda device, each=str(each): step(each, device)) for each in steps}
found = {}
for name, part in tried.items():
    for device in ("cpu", DEVICE):
        try:
            with card():
                found[f"{name} {device}"] = part(device)
        except Exception as error:
            found[f"{name} {device}"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def on_both(folder, *steps):
    """Results of each part by its name and device, from a process of its own that knows the card."""
    base = save_model(folder / "llama", "llama", num_hidden_layers=3)
    windows = save_windows(folder, 6, 48)
    process = subprocess.run(
        [sys.executable, "-c", PARTS, str(base), str(windows), *steps],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=hanging.SECONDS,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def step_of(method):
    """A step by a method, at its second level if it has several."""
    level = (spellings(method) * 2)[1]
    return f"{method.name}@{level}" if level else method.name


CALIBRATED = step_of(METHODS[first("unstructured", calibrated, lambda m: m.is_blockwise)])
BLOCKWISE = [step_of(method) for method in METHODS.values() if method.is_blockwise]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return on_both(tmp_path_factory.mktemp("devices"), CALIBRATED)


def test_weights_and_buffers_are_on_the_card(found):
    assert (found["held cpu"], found["held card:0"]) == (["cpu"], ["card"])


@pytest.mark.parametrize("part", ["logits", "losses", "walk", "streaming"])
def test_the_numbers_are_those_of_the_cpu(found, part):
    assert found[f"{part} card:0"] == pytest.approx(found[f"{part} cpu"], abs=1e-5)


def test_a_compression_runs_on_the_card(found):
    assert found[f"{CALIBRATED} card:0"] == found[f"{CALIBRATED} cpu"]
    assert found[f"{CALIBRATED} cpu"][0] == "ok"


def test_what_a_card_does_not_take_is_seen(found):
    assert "Expected all tensors to be on the same device" in found["mixed card:0"]
    assert "Expected a 'cuda' device type for generator" in found["generator card:0"]
    assert found["mixed cpu"] == [1, 4, 96]


@pytest.mark.slow
def test_every_method_that_works_block_by_block_runs_on_the_card(tmp_path):
    found = on_both(tmp_path, *BLOCKWISE)
    for step in BLOCKWISE:
        on_cpu, on_card = found[f"{step} cpu"], found[f"{step} card:0"]
        assert on_card[:2] == on_cpu[:2], (step, on_cpu, on_card)
        assert on_card[2] == pytest.approx(on_cpu[2], abs=0.01), step
