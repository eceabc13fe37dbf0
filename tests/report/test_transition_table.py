"""Fitted curves on the page: a few columns, and one sentence on the curves without a fit."""

import csv
import re

import pytest

from meltpoint.report import transition_table

FIT = {"s0": "0.67969", "s0_low": "0.61666", "s0_high": "0.68245", "form": "power law"}
SMOOTH = {"form": "smooth", "warning": "no transition: a smooth curve will do"}
FEW = {"warning": "left out: 0.7 (not applicable); no fit: 1 point"}


def shown(folder, *curves):
    """HTML of a CSV of these curves, its heads, and its rows."""
    row = {"model": "m", "settings": "", "evaluation": "ppl", "score": "perplexity", "points": "8"}
    row |= dict.fromkeys(("s0", "s0_low", "s0_high", "form", "warning", "alpha", "s_half"), "")
    with (folder / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list({**row, "method": ""}))
        writer.writeheader()
        writer.writerows(row | curve for curve in curves)
    html = transition_table.html(folder / "a.csv")
    heads = re.findall("<th[^>]*>([^<]*)</th>", html)
    rows = re.findall("<tr>(<td.*?)</tr>", html)
    return html, heads, [re.findall(">([^<]*)</td>", line) for line in rows]


def test_a_row_has_what_a_reader_asks_first(tmp_path):
    html, heads, rows = shown(tmp_path, {"method": "wanda"} | FIT, {"method": "ria"} | SMOOTH)
    sure = "what keeps it from being sure"
    assert heads == ["method", "s0", "95 % interval", "form", "levels", sure]
    assert rows == [
        ["wanda", "0.680", "0.617 to 0.682", "power law", "8", ""],
        ["ria", "", "", "smooth", "8", SMOOTH["warning"]],
    ]
    assert "<p>" not in html


def test_curves_of_several_models_and_scores_are_told_apart(tmp_path):
    curves = [{"model": m, "evaluation": e} for m in "ab" for e in ("x", "y")]
    _, heads, rows = shown(tmp_path, *({"method": "wanda"} | FIT | curve for curve in curves))
    assert heads[:3] == ["method", "model", "score"]
    assert [row[1:3] for row in rows] == [
        [c["model"], f"{c['evaluation']}.perplexity"] for c in curves
    ]


@pytest.mark.parametrize(("fitted", "start"), [
    (True, "<p>These curves have no fit and no transition point: "),
    (False, "<p>No curve of this sweep has a fit or a transition point: "),
])  # fmt: skip
def test_curves_without_a_fit_are_one_sentence(tmp_path, fitted, start):
    without = [{"method": "besa", "settings": "group=row"} | FEW, {"method": "ria"} | FEW]
    other = {"method": "svd", "warning": "no fit: 2 points"}
    html, heads, rows = shown(tmp_path, *without, other, *[{"method": "wanda"} | FIT] * fitted)
    assert f"{start}besa,group=row, ria (1 point); svd (2 points).</p>" in html
    assert (len(rows), bool(heads)) == (int(fitted), fitted)
