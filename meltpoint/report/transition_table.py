"""A table of fitted curves on the page, with the main columns; the CSV has all columns."""

import csv
from collections.abc import Sequence
from html import escape
from pathlib import Path

from meltpoint.chain import row_name
from meltpoint.report.html_table import Grid, to_html

NO_FIT = "no fit: "
# Columns of a CSV of transition points, in the order of the page, with their heads. A column without
# any value is left out.
HEADS = {
    "s0_published": "published s0",
    "s0": "s0",
    "s0_interval": "95 % interval",
    "s_half": "half lost at",
    "s_half_interval": "95 % interval",
    "form": "form",
    "points": "levels",
    "warning": "what keeps it from being sure",
}
RIGHT = {"s0_published", "s0", "s0_interval", "s_half", "s_half_interval", "points"}


def html(path: Path) -> str:
    """HTML of the curves in a CSV: a row for each curve with a fit, and a sentence on the others."""
    with path.open(newline="", encoding="utf-8") as file:
        curves = [with_names(row) for row in csv.DictReader(file)]
    fitted = [curve for curve in curves if NO_FIT not in curve["warning"]]
    others = [curve for curve in curves if NO_FIT in curve["warning"]]
    several = [key for key in ("model", "shown") if len({curve[key] for curve in curves}) > 1]
    parts = [to_html(grid(fitted, several))] if fitted else []
    if others:
        parts.append(sentence(others, several, bool(fitted)))
    return "\n".join(parts)


def with_names(row: dict[str, str]) -> dict[str, str]:
    """A row of the CSV with added texts: the curve's name, its score and its intervals."""
    intervals = {
        f"{name}_interval": f"{number(row[f'{name}_low'])} to {number(row[f'{name}_high'])}"
        if row.get(f"{name}_low") and row.get(f"{name}_high")
        else ""
        for name in ("s0", "s_half")
    }
    numbers = {name: number(row.get(name, "")) for name in ("s0_published", "s0", "s_half")}
    names = {
        "curve": row_name(row["method"], row["settings"]),
        "shown": f"{row['evaluation']}.{row['score']}",
    }
    return row | intervals | numbers | names


def number(text: str) -> str:
    """A sparsity with three digits after the point; "" for an empty text."""
    return f"{float(text):.3f}" if text else ""


def grid(curves: Sequence[dict[str, str]], several: Sequence[str]) -> Grid:
    """The table of curves that have a fit.

    several: further columns to name a curve, those of model and score that vary.
    """
    names = {"curve": "method", "model": "model", "shown": "score"}
    columns = {key: names[key] for key in ("curve", *several)}
    columns |= {key: head for key, head in HEADS.items() if any(curve[key] for curve in curves)}
    rows = [[curve[key] for key in columns] for curve in curves]
    return Grid(list(columns.values()), rows, [key in RIGHT for key in columns])


def sentence(curves: Sequence[dict[str, str]], several: Sequence[str], fitted: bool) -> str:
    """A paragraph that lists the curves without a fit by reason; fitted: whether others have a fit."""
    by_reason: dict[str, list[str]] = {}
    for curve in curves:
        reason = curve["warning"].partition(NO_FIT)[2].partition(";")[0]
        name = " ".join([curve["curve"], *(f"({curve[key]})" for key in several)])
        by_reason.setdefault(reason, []).append(name)
    listed = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())
    start = "These curves have no fit and no" if fitted else "No curve of this sweep has a fit or a"
    return f"<p>{escape(f'{start} transition point: {listed}.', quote=False)}</p>"
