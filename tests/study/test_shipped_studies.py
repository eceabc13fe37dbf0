"""Every table and figure of every study of the project, drawn from made-up cells."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from meltpoint import evaluations, methods
from meltpoint.analysis import samples
from meltpoint.analysis.frame import AXES, read_cells
from meltpoint.chain import DENSE, Bits, Pattern, Scheme, Sparsity
from meltpoint.evaluations.cells import Cell, Score
from meltpoint.figures import style
from meltpoint.hashing import HashCache
from meltpoint.study import config
from meltpoint.study.resolved import Study
from meltpoint.transitions.fit import fit_curves
from meltpoint.workflow.job_specs.study import JobSpecs
from tests.support.documents import use_documents
from tests.support.shipped_studies import with_tasks

ROOT = Path(__file__).parents[2]
STUDIES = ["config.yaml", *sorted(f"studies/{f.name}" for f in (ROOT / "studies").glob("*.yaml"))]
ENDINGS = {"csv": "csv", "markdown": "md", "latex": "tex", "svg": "svg", "png": "png"}
# Of so many chains one is not applicable and one infinite, others for each model.
RARE = 13


def study_of(file: str) -> Study:
    if file.endswith("tiny-real.yaml") and not (ROOT.parent / "shared").exists():
        pytest.skip("the models and texts of tiny-real (shared/data) are not here")
    path = ROOT / file
    study = yaml.safe_load(path.read_text())
    use_documents(study)
    with_tasks(study, file)
    return Study(config.load(study, path.name), path.parent)


def weight_left(step) -> tuple[float, float]:
    """The share of weights that a step leaves and the bits that it takes for each."""
    level = step.level
    if methods.find(step.method).kind == "finetuning":
        return 1, 16
    if isinstance(level, Sparsity | Pattern):
        return 1 - level.fraction, 16
    if isinstance(level, Bits):
        return 1, level.bits + 0.25
    name = level.name if isinstance(level, Scheme) else step.method
    return 1, int(re.search(r"\d+", name)[0]) + 0.5


def values_of(study: Study, model: str, chain: str) -> dict[str, float]:
    """Worse for each model and method, the fewer bits and weights are left."""
    left, bits = 1.0, 16.0
    ppl = 5.0 + list(study.config.models).index(model)
    for step in study.steps(chain):
        share, width = weight_left(step)
        left, bits, ppl = left * share, min(bits, width), ppl * (1 + 0.01 * len(step.method))
    ppl *= np.exp(3 * (1 - left) ** 3 + 20 * np.exp(-1.5 * bits))
    values = {"perplexity": ppl, "bits_per_byte": np.log2(ppl) / 4, "load_seconds": bits}
    values |= {"bits_per_weight": bits * left, "decoder_bits_per_weight": bits * left}
    values |= {"bytes": bits * left * 1e9 / 8, "parameters": 1e9, "nonzeros": 1e9 * left}
    rates = ("generated_tokens_per_second", "prompt_tokens_per_second")
    return values | dict.fromkeys(rates, 1e3 / bits) | {"peak_memory": bits * 1e9 / 8}


def achieved(study: Study, chain: str) -> dict[str, float]:
    """Fractions that a chain has reached: a step of each kind reaches its level on its own axis."""
    left = {"zeros": 1.0, "parameters": 1.0}
    for step in study.steps(chain):
        axis = AXES.get(methods.find(step.method).kind, "zeros")
        left[axis] *= weight_left(step)[0]
    widths = [weight_left(step)[1] for step in study.steps(chain)]
    return {axis: 1 - share for axis, share in left.items()} | {"bits": min([16, *widths])}


def made_up(study: Study, group: str, model: str, chain: str, name: str, rare: bool = True) -> Cell:
    """A cell as an evaluation writes it; with `rare` some have no number, or an infinite one."""
    settings = study.config.evaluations[name]
    kind = evaluations.kind_of(settings)
    specs = kind.scores(settings)
    values = {**dict.fromkeys(specs, 0.5), **values_of(study, model, chain)}
    if chain != "dense":
        place = list(study.config.models).index(model) + study.chains(group).index(chain)
        if rare and place % RARE == 6:
            values["perplexity"] = np.inf
    facts = {
        **{"model": model, "chain": chain, "evaluation": name, "kind": kind.name},
        **{"main": next(iter(specs)), "requested": {}, "provenance": {}},
        "achieved": achieved(study, chain),
        "protocol": settings.model_dump(mode="json"),
    }
    if rare and chain != "dense" and place % RARE == 3:
        return Cell.not_applicable("made up: no kernel", **facts)
    difference = {"value": 0.1, "stderr": 0.01}
    scores = {
        key: Score(
            value=values[key],
            stderr=0.01 * values[key],
            difference=difference,
            unit=spec.unit,
            better=spec.better,
        )
        for key, spec in specs.items()
    }
    return Cell(**facts, scores=scores)


def paired(part: object) -> bool:
    """True for a table or figure that compares chains: one without a number is left out."""
    kinds = {getattr(part, "layout", None), getattr(part, "kind", None)}
    return bool(kinds & {"pairs", "families", "orders", "changes"})


def fitted(files: list[Path], steps: dict, path: Path) -> Path:
    """Transition points as the workflow has them, of few draws."""
    fit_curves(read_cells(files, steps), draws=2).to_csv(path, index=False)
    return path


def with_made_up_samples(frame: pd.DataFrame, paths: list[Path]) -> pd.DataFrame:
    """The frame with 20 units for each finite perplexity or mean; made-up cells keep none."""
    cells = [Cell.read(path) for path in paths]
    places = {(cell.model, cell.chain, cell.evaluation): cell for cell in cells}
    deviations, found = np.random.default_rng(0).normal(size=(len(frame), 20)), []
    for row, noise in zip(frame.to_dict("records"), deviations, strict=True):
        known = row["score"] in ("perplexity", "mean") and np.isfinite(row["value"])
        scores = row["value"] + (noise - noise.mean())[None]
        cell = places[row["model"], row["chain"], row["evaluation"]]
        found.append(samples.Sample(scores, cell) if known else None)
    return frame.assign(sample=pd.Series(found, index=frame.index, dtype=object))


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Runs a script of the project on made-up cells of all that a table or figure shows."""
    monkeypatch.setitem(style.RC, "savefig.dpi", 30)
    monkeypatch.setattr(samples, "with_samples", with_made_up_samples)

    def draw(study: Study, section: str, name: str) -> Outputs:
        part = getattr(study.config, section)[name]
        files = []
        for cell in study.cells(part.source, *part.evaluations):
            files.append(tmp_path / f"{len(files)}.json")
            made_up(study, part.source, *cell, rare=not paired(part)).write(files[-1])
        specs = JobSpecs(study, ROOT / "envs", HashCache(tmp_path / "hashes"))
        spec = getattr(specs, section.removesuffix("s"))(name)
        fits = getattr(part, "fit", None)
        transitions = [fitted(files, spec.steps, tmp_path / "fits.csv")] if fits else []
        made = Outputs({kind: str(tmp_path / f"made.{end}") for kind, end in ENDINGS.items()})
        snakemake = SimpleNamespace(
            input=SimpleNamespace(cells=files, transitions=transitions),
            output=made,
            params=SimpleNamespace(job_spec=spec.json()),
            log=[str(tmp_path / "log")],
            config={"compute": study.config.compute.model_dump(mode="json")},
        )
        script = ROOT / f"scripts/{section.removesuffix('s')}.py"
        runpy.run_path(str(script), init_globals={"snakemake": snakemake})
        return made

    return draw


class Outputs(dict):
    """Files by name, and the first by its number, as Snakemake has them."""

    __getattr__ = dict.__getitem__

    def __missing__(self, key: int) -> str:
        return list(self.values())[key]


def shown(section: str) -> list[tuple[str, str]]:
    """Every table or figure of every study: (file, name)."""
    return [
        (file, name)
        for file in STUDIES
        for name in yaml.safe_load((ROOT / file).read_text()).get(section, {})
    ]


@pytest.mark.parametrize(("file", "name"), shown("tables"))
def test_every_table_is_drawn_up(file, name, drawn):
    study = study_of(file)
    made = drawn(study, "tables", name)
    table = study.config.tables[name]
    lines = Path(made.markdown).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert {line.count(" | ") for line in rows} == {rows[0].count(" | ")}
    of_chains = study.chains(table.source) != [DENSE]
    assert len(rows) > (3 if of_chains else 1)
    places = range(len([chain for chain in study.chains(table.source) if chain != DENSE]))
    models = range(len(study.config.models))
    # `made_up` leaves chains at some places of some models without a number.
    has_gap = any((model + place) % RARE == 3 for model in models for place in places)
    assert ("N/A" in "".join(rows)) == (of_chains and has_gap and not paired(table))
    assert "+nan" not in "".join(rows)
    if table.compare_with or table.published_models:
        heads = {"evaluation": "published", "level": ", published"}
        assert any(heads[table.columns] in line for line in rows)
    assert Path(made.csv).exists()
    assert Path(made.latex).exists()


@pytest.mark.parametrize(("file", "name"), shown("figures"))
def test_every_figure_is_drawn(file, name, drawn):
    made = drawn(study_of(file), "figures", name)
    assert "<title>" in Path(made.svg).read_text()
    assert Path(made.png).stat().st_size > 1000
