"""The tables of the order study: scores, changes, and the effect of order."""

import numpy as np
import pandas as pd

from meltpoint.published.operation_order.read import METRICS, NOT_APPLICABLE, OrderStudy
from meltpoint.published.specs import StudySpec
from meltpoint.published.tables import printed
from meltpoint.tables.grid import Grid, cells_of
from meltpoint.tables.markup import Table

SIZE = "Size (GB)"
OPERATIONS = {"P": "pruning", "Q": "quantization", "F": "fine-tuning"}
ROUNDED = (
    "the source's last digits differ, as the rounding of the scores allows (the CSV file has both)"
)
ABSENT = {"head": METRICS[0], "status": "not_applicable"}


def scores_table(spec: StudySpec, study: OrderStudy) -> Table:
    """All sequences with their scores and sizes."""
    texts = spec.tables["order_scores"]
    scored = study.scores.rename(columns={"score": "value", "metric": "head"})
    sizes = [
        {"sequence": row.sequence, "head": SIZE, "value": row.model_size_gb, "digits": 1}
        | {"note": texts.notes.get((row.sequence, SIZE), "")}
        for row in study.sequences[study.sequences["applicable"]].itertuples()
    ]
    absent = [{"sequence": s, "reason": NOT_APPLICABLE} | ABSENT for s in study.not_applicable]
    cells = cells_of([*scored[scored["status"] == "ok"].to_dict("records"), *sizes, *absent])
    cells = in_order(cells, "sequence", list(study.sequences["sequence"]))
    heads = {metric: spec.words[metric] for metric in METRICS} | {SIZE: SIZE}
    errors = study.scores.pivot_table(index="sequence", columns="metric", values="stderr")
    csv = study.sequences.assign(
        reason=np.where(study.sequences["applicable"], "", NOT_APPLICABLE),
        size_note=[texts.notes.get((name, SIZE), "") for name in study.sequences["sequence"]],
        **{f"{m}_stderr": study.sequences["sequence"].map(errors[m]) for m in METRICS[1:]},
    )
    return printed(texts, cells, Grid({"sequence": "sequence"}, heads), csv)


def in_order(cells: pd.DataFrame, column: str, order: list) -> pd.DataFrame:
    """The cells, sorted by the place of the column's value in `order`."""
    return cells.loc[cells[column].map(order.index).sort_values(kind="stable").index]


def changes_table(spec: StudySpec, name: str, study: OrderStudy, changes: pd.DataFrame) -> Table:
    """One of the published tables of changes, recomputed; percentages that are wrong are noted."""
    changes = changes[changes["table"] == name]
    absolute = changes["published_change_abs"].notna().any()
    labels = {"from": "from_sequence", "to": "to_sequence"}
    cells = [cell for row in changes.to_dict("records") for cell in change_cells(row, absolute)]
    if name == "sequence_vs_original":
        row = {"from_sequence": "dense", "reason": NOT_APPLICABLE, "head": (METRICS[0], "%")}
        cells += [ABSENT | row | {"to_sequence": s} for s in study.not_applicable]
        changes = pd.concat([changes, unavailable(name, study)], ignore_index=True)
    heads = {(m, "%"): f"{spec.words[m]} %" for m in METRICS}
    if absolute:
        heads = {(m, of): spec.words[m] if of == "points" else "%" for m in METRICS
                 for of in ("points", "%")}  # fmt: skip
    texts = spec.tables[f"order_{name}"]
    return printed(texts, cells_of(cells), Grid(labels, heads), changes)


def change_cells(row: dict, absolute: bool) -> list[dict]:
    """Cells of a change: in percent, and with `absolute` also in points, as the source prints it."""
    note = {"rounding": ROUNDED}.get(row["agreement"], "")
    if row["agreement"] == "no":
        wrong = f"wrong in the source: {row['published_change_pct']:+.2f} is printed"
        note = f"{wrong}, which {row['note']}"
    place = {key: row[key] for key in ("from_sequence", "to_sequence")} | {"signed": True}
    points = place | {"head": (row["metric"], "points"), "value": row["change_abs"]}
    percent = place | {"head": (row["metric"], "%"), "value": row["change_pct"], "note": note}
    return [points, percent] if absolute else [percent]


def unavailable(name: str, study: OrderStudy) -> pd.DataFrame:
    """Rows of changes for sequences without scores."""
    row = {"table": name, "from_sequence": "dense", "note": NOT_APPLICABLE}
    sequences = study.not_applicable
    return pd.DataFrame([row | {"to_sequence": s, "metric": m} for s in sequences for m in METRICS])


def effect_table(spec: StudySpec, effect: pd.DataFrame) -> Table:
    """A row for each pair of orders, with their difference by metric; bold if it is not noise."""
    words = [" and ".join(OPERATIONS[x] for x in s.split(" and ") if x) for s in effect["swapped"]]
    cells = effect.assign(swapped=words, value=effect["difference"], head=effect["metric"])
    cells["swapped"] = cells["swapped"].where(cells["swapped"] != "", "-")
    significant = cells["difference"].abs() > 1.96 * cells["stderr"]
    cells = cells.assign(signed=True, mark=np.where(significant, "best", ""))
    # A pair without scores has a single cell that says so.
    cells = cells[(cells["status"] == "ok") | (cells["head"] == METRICS[0])]
    labels = {label: label for label in ("first", "second", "swapped")}
    heads = {metric: spec.words[metric] for metric in METRICS}
    return printed(spec.tables["order_effect"], cells_of(cells.to_dict("records")),
                   Grid(labels, heads), effect)  # fmt: skip
