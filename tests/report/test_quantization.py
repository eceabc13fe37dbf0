"""The report page of a study of quantization: tables of several evaluations, and its figures."""

import json

import pytest

from meltpoint import figures
from meltpoint.evaluations.cells import Score
from meltpoint.report import cell_summary, study
from meltpoint.report.build import build
from meltpoint.study import config
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.report.pages import cell, described
from tests.report.test_content import Elements
from tests.support.quantized_frames import combined, quantized

EVALUATIONS = ["ppl", "bytes", "speed"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of a table of three evaluations, a tradeoff and a contour."""
    folder = tmp_path_factory.mktemp("quantization")
    table = tables.build(quantized(), Table(source="x", columns="evaluation", value=EVALUATIONS))
    (folder / "t.csv").write_text(tables.to_csv(table))
    (folder / "t.md").write_text(tables.to_markdown(table))
    for kind, frame in (("tradeoff", quantized()), ("contour", combined())):
        drawn = figures.draw(
            frame, None, figures.parse({"source": "x", "value": "ppl", "kind": kind})
        )
        figures.save(drawn, [folder / f"{kind}.svg"])
    shown = [
        {"category": "Tables", "name": "t", "title": "T", "table": "t.csv"},
        {"category": "Figures", "name": "a", "title": "A", "figure": "tradeoff.svg"},
        {"category": "Figures", "name": "b", "title": "B", "figure": "contour.svg"},
    ]
    build(folder / "report.html", described(shown))
    return (folder / "report.html").read_text()


def test_every_column_is_headed_and_sorted_by_its_numbers(page):
    words = Elements(page).words
    for head in ("perplexity, ppl", "size (kB)", "generated tokens/s"):
        assert head in words
    assert '<td class="r" data-v="531.25">' in page


def test_points_of_both_figures_say_what_they_are(page):
    assert "m, gptq 4-bit" in page
    assert "sparsity 0.5, gptq 4-bit" in page


def test_captions_say_what_is_shown():
    shared = {"source": "q", "value": "ppl"}
    captions = [
        study.figure("f", figures.parse({"kind": "tradeoff", **shared})).caption,
        study.figure("f", figures.parse({"kind": "tradeoff", "x": "bits", **shared})).caption,
        study.figure("f", figures.parse({"kind": "contour", **shared})).caption,
        study.figure("f", figures.parse(shared)).caption,
        study.table("t", Table(source="q", value=["ppl", "bits"], columns="evaluation")).caption,
    ]
    assert captions == [
        "ppl of q, over nominal bits per weight.",
        "ppl of q, over bits.",
        "ppl of q, over sparsity and nominal bits per weight.",
        "ppl of q, by levels.",
        "ppl, bits by method and level, of q.",
    ]


def test_dense_bytes_are_printed_as_people_count_them():
    score = Score(value=13476839424, unit="bytes", better="lower")
    entries = cell_summary.before([cell("dense", score, evaluation="size", main="bytes")], {})
    assert "13.5 GB" in json.dumps(entries, default=str)


def test_the_page_of_a_study_names_its_items():
    shown = {"source": "q", "value": "e", "kind": "tradeoff"}
    raw = {
        "study": "s",
        "models": {"m": {"train": {}}},
        "corpora": {"t": {"builtin": "python-docs", "split": "test"}},
        "evaluations": {"e": {"perplexity": "t", "window": 8}},
        "sweeps": {
            "q": {"models": ["m"], "methods": ["rtn"], "levels": ["4bit"], "evaluations": ["e"]}
        },
        "figures": {"f": shown},
    }
    items = study.page(config.load(raw, "s.yaml"), [])["items"]
    assert [item["name"] for item in items] == ["figure-f"]
