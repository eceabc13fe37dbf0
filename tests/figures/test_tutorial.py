"""docs/adding-a-figure.md, done as it says in a copy of the project: one file is added, and drawn."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.support.project import ROOT, Project, copy_sources

pytestmark = pytest.mark.workflow
PAGE = (ROOT / "docs/adding-a-figure.md").read_text()
FIGURE = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.S)[1])["figures"]["dots"]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A copy of the project with the tutorial's file, and a tiny study that draws its figure."""
    tiny = pytest.importorskip("tests.support.tiny_study", reason="the tiny model needs torch")
    project = Project(tmp_path_factory.mktemp("tutorial") / "project")
    copy_sources(project.folder)
    for part in ("config", "docs"):
        shutil.copytree(ROOT / part, project.folder / part)
    shutil.copyfile(ROOT / "README.md", project.folder / "README.md")
    tiny.write(project.folder / "studies")
    name = re.search(r"Write `(.*?)`", PAGE)[1]
    (project.folder / name).write_text(re.search(r"```python\n(.*?)```", PAGE, re.S)[1])
    figure = FIGURE | {"source": "pruning", "value": "prose-32"}
    project.edit_study(lambda study: study["sweeps"]["pruning"].update(methods=["magnitude"]))
    project.edit_study(lambda study: study.update(figures={"dots": figure}))
    return project


def with_figure(project: Project, tmp_path, **keys) -> str:
    """What Snakemake says of the study with other keys of the figure."""
    copy = project.copy(tmp_path / "copy")
    copy.edit_study(lambda study: study["figures"]["dots"].update(keys))
    return copy.snakemake("-n").output


def test_the_workflow_draws_it(project):
    project.run("results/tiny/figures/dots.svg")
    svg = (project.results / "figures/dots.svg").read_text()
    titles = re.findall(r"<title>magnitude: ([\d.]+)</title>", svg)
    cells = [project.results / f"cells/tiny/magnitude@{x}/prose-32.json" for x in ("0.5", "2of4")]
    values = [json.loads(cell.read_text())["scores"]["perplexity"]["value"] for cell in cells]
    assert [float(title) for title in titles] == pytest.approx(values, rel=1e-5)
    assert (project.results / "figures/dots.png").exists()


def test_a_change_of_its_file_makes_its_figure_stale_alone(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    copy.replace("meltpoint/figures/dots.py", "0.2 * len(names)", "0.3 * len(names)")
    assert copy.stale("results/tiny/figures/dots.svg") & {"figures/dots.svg"}
    dry = copy.snakemake("-n", "results/tiny/figures/dots.svg").output
    assert re.search(r"^figure +1$", dry, re.M)
    assert not re.search(r"^evaluate", dry, re.M)


def test_its_keys_are_checked(project, tmp_path):
    output = with_figure(project, tmp_path / "a", fit="transition")
    assert "figures.dots.fit: there is no such key for dots; curves has it" in output
    output = with_figure(project, tmp_path / "b", labels={"magnitud": "Magnitude"})
    assert "figures.dots.labels: 'magnitud' is no row: did you mean 'magnitude'?" in output


def test_the_docs_have_its_section(project):
    command = [sys.executable, "-m", "meltpoint.study.reference"]
    subprocess.run(command, cwd=project.folder, check=True, capture_output=True)
    page = (project.folder / "docs/config.md").read_text()
    assert "| `dots` | every value of a score as a dot, a line for each method |" in page
    assert '| `marker` | `o`, `s` | `"o"` | Marker: circles `o` or squares `s`. |' in page
