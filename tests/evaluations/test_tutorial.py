"""docs/adding-an-evaluation.md, done as it says in a copy of the project with the tiny study."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.project import ROOT, Project, copy_sources

PAGE = (ROOT / "docs/adding-an-evaluation.md").read_text()

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A copy of the project with the tutorial's file, and a tiny study that is evaluated by it."""
    tiny = pytest.importorskip("tests.support.tiny_study", reason="the tiny model needs torch")
    folder = tmp_path_factory.mktemp("tutorial") / "project"
    copy_sources(folder)
    for part in ("docs", "config", "README.md"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copy(ROOT / part, folder / part)
    name = re.search(r"Write `(.*?)`", PAGE)[1]
    (folder / name).write_text(re.search(r"```python\n(.*?)```", PAGE, re.S)[1])
    tiny.write(folder / "studies")
    project = Project(folder)
    project.edit_study(evaluate_by_it)
    return project


def evaluate_by_it(study: dict) -> None:
    """Leaves one group of chains, evaluated by the tutorial's kind too, and its table."""
    study["evaluations"]["surprise"] = {"surprise": "prose", "window": 32, "below": 0.007}
    shown = ["prose-32", "surprise", "surprise.worst_window"]
    study["sweeps"], study["figures"] = {}, {}
    chains = {"models": ["tiny"], "chains": ["magnitude@0.5"]}
    study["chains"] = {"pruned": {**chains, "evaluations": ["prose-32", "surprise"]}}
    study["tables"] = {"pruned": {"source": "pruned", "columns": "evaluation", "value": shown}}


def test_the_rule_appears(project):
    assert "evaluate_surprise" in project.snakemake("--list-rules").stdout.split()


def test_its_scores_are_columns_of_the_table(project):
    project.run()
    printed = (project.results / "tables/pruned.md").read_text().splitlines()
    head, _, *rows = [line for line in printed if line.startswith("|")]
    assert "surprises" in head
    assert "surprises, worst window" in head
    assert len(rows) == 2

    cells = project.results / "cells/tiny"
    cell, dense = (
        json.loads((cells / f"{chain}/surprise.json").read_text())
        for chain in ("magnitude@0.5", "dense")
    )
    nll = np.load(cells / "magnitude@0.5/surprise.nll.npy")
    shares = (nll > -math.log(0.007)).mean(axis=1)
    base = (np.load(cells / "dense/surprise.nll.npy") > -math.log(0.007)).mean(axis=1)
    rate = cell["scores"]["rate"]
    assert 0 < rate["value"] < 1
    assert rate["value"] == pytest.approx(shares.mean())
    assert rate["difference"]["value"] == pytest.approx(shares.mean() - base.mean())
    paired = (shares - base).std(ddof=1) / math.sqrt(len(shares))
    assert rate["difference"]["stderr"] == pytest.approx(paired)
    assert cell["scores"]["worst_window"]["difference"]["stderr"] is None
    assert dense["scores"]["rate"]["difference"] == {"value": 0.0, "stderr": 0.0}
    assert project.stale() == set()

    table = pd.read_csv(project.results / "tables/pruned.csv")
    assert set(table["score"]) == {"perplexity", "rate", "worst_window"}


def test_only_its_own_cells_are_added(project):
    project.edit_study(lambda study: study["evaluations"]["surprise"].update(below=0.01))
    try:
        stale = project.stale()
        assert {path for path in stale if path.startswith("cells/")} == {
            "cells/tiny/dense/surprise.json",
            "cells/tiny/magnitude@0.5/surprise.json",
        }
    finally:
        project.edit_study(lambda study: study["evaluations"]["surprise"].update(below=0.007))


def test_an_unknown_score_is_refused_as_the_page_says(project):
    sentence = re.search(r"config\.yaml: (tables\..*)", PAGE)[1].replace("quantization", "pruned")
    project.edit_study(
        lambda study: study["tables"]["pruned"].update(value=["surprise.worst_windw"])
    )
    try:
        assert f"Error: tiny.yaml: {sentence}" in project.snakemake("-n").output
    finally:
        project.edit_study(evaluate_by_it)


def test_the_docs_rows_appear(project):
    command = [sys.executable, "-m", "meltpoint.study.reference"]
    subprocess.run(command, cwd=project.folder, check=True, capture_output=True)
    page = (Path(project.folder) / "docs/evaluations.md").read_text()
    assert "| [`surprise`](#surprise) | how often a model gives the next token" in page
    assert "| `worst_window` | surprises, worst window | per token | lower |" in page
    assert "Surprise evaluation" in (project.folder / "docs/config.md").read_text()
