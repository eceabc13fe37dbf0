"""Loading, the walk, streaming and evaluation on a card that is not there: no tensor stays behind."""

import json
import subprocess
import sys

import pytest

from tests.support.project import ROOT
from tests.support.tiny_models import save_model

# Each part ends where a value is read: what it raised there, or the devices that it ended on.
PARTS = """
import json, sys, traceback
from pathlib import Path
import numpy as np
import torch
from tests.support.fake_card import DEVICE, fake_card
from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.evaluations.engines._model_engine import ModelEngine
from meltpoint.evaluations.engines._streamed import StreamedEngine
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load

folder, compute = Path(sys.argv[1]), Compute(device=DEVICE)
windows = np.zeros((3, 16), np.int64)

def whole():
    return load(folder, torch.float32, torch.device(DEVICE))

def loading():
    return {str(each.device) for each in [*whole().parameters(), *whole().buffers()]}

def logits():
    return {str(each.device) for each in ModelEngine(whole(), compute).logits(windows)}

def losses():
    return ModelEngine(whole(), compute).nll(windows)

def walk():
    reader = Reader(folder, torch.float32, torch.device(DEVICE))
    walked = Walk(reader, torch.from_numpy(windows), compute)
    walked.embed()
    for index in range(len(walked.blocks)):
        empty_model.fill(walked.model, walked.reader.read(walked.names(index)))
        walked.advance(index)
    return {str(walked.hidden.device)}

def streaming():
    engine = StreamedEngine(folder, empty_model.build(folder, torch.float32), compute)
    return list(engine.logits(windows))

def mixed():
    return whole()(torch.zeros(1, 4).long())

found = {}
for part in (loading, logits, losses, walk, streaming, mixed):
    with fake_card():
        try:
            found[part.__name__] = sorted(part())
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)
            ours = [each.name for each in place if "/meltpoint/" in each.filename]
            found[part.__name__] = [type(error).__name__, str(error), *ours[-1:]]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each part came to, by its name."""
    folder = save_model(tmp_path_factory.mktemp("devices") / "llama", "llama")
    run = subprocess.run(
        [sys.executable, "-c", PARTS, str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("part", ["loading", "logits", "walk"])
def test_all_is_on_the_card(found, part):
    assert found[part] == ["card:0"]


def test_losses_are_on_the_card_until_they_are_read(found):
    assert found["losses"] == [
        "RuntimeError",
        ".numpy() is not supported for tensor subclasses.",
        "token_nll",
    ]


def test_streaming_runs_all_blocks_until_it_reads_the_number_of_a_row(found):
    assert found["streaming"][0] == "DataDependentOutputException"
    assert found["streaming"][-1] == "_run"


def test_a_tensor_that_stays_behind_is_seen(found):
    assert "Expected all tensors to be on the same device" in found["mixed"][1]
