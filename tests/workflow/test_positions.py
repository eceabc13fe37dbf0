"""Windows that are longer than a model has positions, or than it was made for."""

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GPTJConfig, LlamaConfig, OPTConfig

from meltpoint.analysis.frame import read_cells
from meltpoint.checkpoints.positions import Positions, positions_of
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import Cell
from meltpoint.report import cell_summary
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from meltpoint.workflow.plan import Plan
from tests.support import tiny_study
from tests.support.bench import Bench
from tests.support.tiny_models import save_model


@pytest.fixture
def bench(untouched, tmp_path, monkeypatch) -> Bench:
    untouched.copy(tmp_path / "bench")
    monkeypatch.chdir(tmp_path / "bench")
    return Bench(tmp_path / "bench")


def with_opt(bench) -> None:
    """Puts a tiny OPT, of 64 learned positions, in the place of the study's model."""
    for file in bench.source("model").glob("*.safetensors*"):
        file.unlink()
    save_model(bench.source("model"), "opt", vocab_size=tiny_study.VOCABULARY)
    (bench.source("model") / "meltpoint.json").unlink()


CHAIN = "calibrations.default.length: models.tiny"


@pytest.mark.parametrize(
    ("section", "name", "key", "said"),
    [
        ("evaluations", "prose-32", "window", "evaluations.prose-32.window: models.tiny"),
        ("calibrations", "default", "length", CHAIN),
    ],
)
def test_learned_positions_are_checked_when_the_study_is_planned(bench, section, name, key, said):
    with_opt(bench)
    assert bench.plan
    bench.study[section][name][key] = 65
    with pytest.raises(MeltpointError, match="texts of 65 tokens do not fit the model, which has 64 po"
        ) as caught:  # fmt: skip
        _ = bench.plan
    assert str(caught.value).startswith(f"tiny.yaml: {said}: ")


def test_the_jobs_of_a_model_that_was_not_known_then_check_it(bench):
    """A model of the hub is known once it is linked, and given windows once they are read."""
    with_opt(bench)
    bench.link()
    bench.tokens("fixed")
    np.save(bench.source("windows.npy"), np.ones((4, 65), dtype=int))
    with pytest.raises(
        MeltpointError, match=r"^calibrations\.given: texts of 65 tokens do not fit"
    ):
        bench.compress("wanda@0.5,calibration=given")
    local = copy.deepcopy(bench.study)
    bench.study["models"]["tiny"] = {"hub": "owner/name", "revision": 40 * "0"}
    bench.study["evaluations"]["fixed-32"]["window"] = 65
    with pytest.raises(
        MeltpointError, match=r"evaluations\.fixed-32\.window: models\.tiny: texts of"
    ):
        _ = bench.plan
    config = Path("results/models/tiny/config.json")
    assert positions_of(config.parent) == Positions(64, True)
    assert Plan(local, [bench.source("tiny.yaml")], bench.folder)


def plain_perplexity(folder: Path, tokens: np.ndarray, window: int) -> float:
    """By torch's cross entropy, window by window."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    windows = torch.from_numpy(tokens[: len(tokens) // window * window].reshape(-1, window)).long()
    with torch.no_grad():
        logits = model(windows).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), windows[:, 1:].flatten()).exp().item()


def test_rotary_windows_beyond_the_positions_are_measured_with_a_warning(bench):
    bench.study["evaluations"]["fixed-32"]["window"] = 128
    bench.study["calibrations"]["default"]["length"] = 96
    bench.link()
    tokens = np.load(bench.tokens("fixed"))
    bench.tokens("prose")
    dense = Cell.read(bench.evaluate("dense", "fixed-32"))
    expected = plain_perplexity(bench.source("model"), tokens, 128)
    assert dense.scores["perplexity"].value == pytest.approx(expected, rel=1e-5)
    beyond = "windows of 128 tokens are longer than the 64 positions that the model's config names"
    assert dense.provenance["warnings"] == [beyond]
    bench.compress("wanda@0.5")
    cells = [bench.folder / "results/tiny/cells/tiny/dense/fixed-32.json",
             bench.evaluate("wanda@0.5", "fixed-32")]  # fmt: skip
    pruned = Cell.read(cells[1]).provenance["warnings"]
    assert pruned == [f"calibration {beyond.replace('128', '96')}", beyond]
    # A child of the checkpoint, which looks at no text, keeps its parent's.
    bench.compress("wanda@0.5+rtn@4bit")
    description = json.loads(
        (bench.checkpoint("wanda@0.5+rtn@4bit") / "meltpoint.json").read_text()
    )
    assert description["warnings"] == pruned[:1]

    steps = {
        "wanda@0.5": {"method": "wanda", "level": "0.5", "settings": "", "kind": "unstructured"}
    }
    frame = read_cells(cells, steps)
    table = tables.build(frame, Table(source="pruning", value="fixed-32"))
    assert set(table.notes.values()) == {beyond, "; ".join(pruned)}
    rows = cell_summary.warnings([Cell.read(path) for path in cells])
    assert ["tiny", "fixed-32", beyond, "2"] in rows
    assert any(
        "Warnings" in str(entry) for entry in cell_summary.before(list(map(Cell.read, cells)), {})
    )


def test_windows_within_the_positions_are_measured_without(bench):
    bench.link()
    bench.tokens("fixed")
    cell = bench.evaluate("dense", "fixed-32")
    assert Cell.read(cell).provenance["warnings"] == []
    assert pd.Series(read_cells([cell], {})["note"]).eq("").all()


SCALED = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (OPTConfig(max_position_embeddings=64), Positions(64, False)),  # no weights: no table
        (LlamaConfig(max_position_embeddings=512), Positions(512, False)),
        (LlamaConfig(max_position_embeddings=64, rope_parameters=SCALED), Positions(256, False)),
        (GPTJConfig(n_positions=64), Positions(64, True)),
    ],
)
def test_positions_are_those_of_the_config(tmp_path, config, expected):
    config.save_pretrained(tmp_path)
    assert positions_of(tmp_path) == expected


@pytest.mark.parametrize("family", ["bloom"])
def test_models_without_positions_have_no_limit(tmp_path, family):
    assert positions_of(save_model(tmp_path, family)) is None
