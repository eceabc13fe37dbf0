"""What a page of every kind of item is made of."""

from pathlib import Path

import numpy as np

from meltpoint import figures
from meltpoint.evaluations.cells import Cell, Score
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.figures.test_figures import frame, spec

ITEMS = [
    {"category": "Figures", "name": "figure-a", "title": "Curves", "figure": "figures/a.svg"},
    {"category": "Figures", "name": "figure-b", "title": "Again", "figure": "figures/b.svg"},
    {"category": "Tables", "name": "table-a", "title": "Perplexity", "table": "tables/a.csv"},
    {"category": "Tables", "name": "raw", "title": "As measured", "table": "raw.csv"},
    {"category": "Texts", "name": "text", "title": "What it means", "text": "text.md"},
]
TEXT = "# Findings\n\nSee `a.csv` & **more**:\n\n- one\n- <script>alert(1)</script>\n"
RAW = "method,value\nten,10\nnone,nan\nnine,9\nmany,inf\nlarge,1e3\nempty,\nlow,-2.5\n"
REASON = "2:4 needs rows whose length is a multiple of 4"


def cell(chain: str, score: Score | None, reason: str | None = None, **changes) -> Cell:
    """A cell of one score, or of a chain that is not applicable for a reason."""
    facts = {
        **{"model": "m", "chain": chain, "evaluation": "ppl-32", "kind": "perplexity"},
        **{"main": "perplexity", "requested": {"zeros": 0.5}, "achieved": {"zeros": 0.5}},
        "protocol": {"perplexity": "prose", "window": 32},
        "provenance": {
            **{"code": "c0de", "env": "e0", "checkpoint": f"hash of {chain}"},
            "versions": {"torch": "2.13.0"} if chain != "dense" else None,
        },
    } | changes
    if score is None:
        return Cell.not_applicable(reason, **facts)
    return Cell(**facts, scores={facts["main"]: score}, cost={"seconds": 1.5, "peak_memory": 1})


def perplexity(value: float) -> Score:
    """A score as perplexity has it."""
    difference = {"value": 1.5, "stderr": 0.01}
    return Score(value=value, stderr=0.25, difference=difference, unit="per token", better="lower")


CELLS = [
    cell("dense", perplexity(20.0)),
    cell("wanda@0.5", perplexity(np.inf)),
    cell("wanda@2of4", None, REASON),
]


def write_figures(folder: Path) -> None:
    drawn = figures.draw(frame().assign(achieved=0.5), None, spec(fit=None))
    figures.save(drawn, [folder / "a.svg", folder / "b.svg"])


def write_table(stem: Path) -> None:
    cells = frame()
    cells.loc[1, "value"] = np.inf
    columns = dict.fromkeys(("difference", "difference_stderr", "requested"), np.nan)
    cells = cells.assign(achieved=np.nan, unit="", reason="", source="measured", **columns)
    cells.loc[cells["level"] == "2of4", ["status", "reason"]] = ["not_applicable", REASON]
    shown = Table(source="x", value="ppl", digits=1, error=True, caption="Printed <above>")
    table = tables.build(cells, shown)
    stem.parent.mkdir()
    stem.with_suffix(".csv").write_text(tables.to_csv(table))
    stem.with_suffix(".md").write_text(tables.to_markdown(table))
    stem.with_suffix(".tex").write_text(tables.to_latex(table))


def described(items: list[dict]) -> dict:
    empty = {"caption": "", "table": None, "figure": None, "text": None}
    full = [{**empty, **item} for item in items]
    return {"title": "Report", "lead": "All of *it*.", "items": full, "sources": {"m": "here"}}
