"""docs/adding-a-method.md, done as it says in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "README.md", "pyproject.toml", "rules", "scripts", "envs",
         "profiles", "meltpoint", "docs", "config", "resources", "studies", "tests")  # fmt: skip

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the tutorial's file written into it."""
    folder = tmp_path_factory.mktemp("tutorial")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copy(ROOT / part, folder / part)
    page = (ROOT / "docs/adding-a-method.md").read_text()
    name = re.search(r"Write `(.*?)`", page)[1]
    code = re.search(r"```python\n(.*?)```", page, re.S)[1]
    (folder / name).write_text(code)
    return folder


def run(project, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rule_appears(project):
    assert "compress_chance" in run(project, "snakemake", "--list-rules").split()


def test_only_its_own_cells_are_added(project):
    config = project / "config.yaml"
    before = run(project, "snakemake", "-n")
    text = config.read_text()
    assert "methods: [magnitude, wanda, sparsegpt]" in text
    config.write_text(text.replace("wanda, sparsegpt]", "wanda, sparsegpt, chance]"))
    after = run(project, "snakemake", "-n")
    config.write_text(text)
    assert re.search(r"compress_chance +10\b", after)
    for rule, more in (("compress_wanda", 0), ("evaluate_perplexity", 10), ("table", 0)):
        count = [int(re.search(rf"^{rule} +(\d+)", out, re.M)[1]) for out in (before, after)]
        assert count[1] - count[0] == more, rule


def test_the_contract_tests_appear_and_pass(project):
    output = run(
        project, "pytest", "tests/methods/test_contracts.py", "-q", "-k", "chance and not qwen2", "-p",
        "no:cacheprovider",
    )  # fmt: skip
    assert int(re.search(r"(\d+) passed", output)[1]) >= 20


def test_the_docs_row_appears(project):
    run(project, "meltpoint.study.reference")
    row = "| [`chance`](docs/methods.md#chance) | unstructured | sparsity, N:M |"
    assert row in (project / "README.md").read_text()
    assert "## chance" in (project / "docs/methods.md").read_text()
