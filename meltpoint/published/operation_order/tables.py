"""The tables of the order study: scores, changes, the effect of order; its defects below each."""

import numpy as np
import pandas as pd

from meltpoint.analysis.operation_order import HEADS, METRICS, NOT_APPLICABLE, TABLES, stderr
from meltpoint.published.operation_order.captions import CAPTIONS
from meltpoint.tables.build import Notes
from meltpoint.tables.markup import Entry, Table

NAMES = {"P": "pruning", "Q": "quantization", "F": "fine-tuning"}
REMARKS = [
    "P: pruning (ShortGPT, 7 of 36 layers), Q: 4-bit quantization (AWQ), F: LoRA fine-tuning, in the "
    "order in which they were done; the model is Qwen2.5-3B. Scores in percent.",
    "Scores of MMLU STEM and MMLU law are far below chance (25) because most answers are degenerate: "
    "86.7 % of the stored ones are a single repeated token, for every model and the original too, "
    "and of each batch of eight only the longest prompt was answered. Their differences show mainly "
    "which prompts those were. The answers behind LawBench are not stored.",
]
ERROR_REMARK = (
    "±: binomial standard error from the numbers of MMLU questions, with independent errors; "
    "LawBench's numbers of questions are not published."
)
FINE_TUNED = (
    "F, F>P and F>P>Q come from one fine-tuned model, F>Q and F>Q>P by the source's names from "
    "another."
)
ROUNDED = (
    "the source's last digits differ, as the rounding of the scores allows (the CSV file has both)"
)
SIZES = {
    "P": "sizes of P and Q are exchanged: 29 layers of 36 take 4.7 GiB at 16 bits, 4-bit weights with "
    "an output layer of their own 2.5 GiB",
    "P>F": "the size of a model that was not pruned: 36 layers take 5.7 GiB at 16 bits and 1.9 GiB at "
    "4 bits, 29 layers 4.7 and 1.7; either the adapter was merged into the unpruned model or the "
    "pruning was lost",
}
SIZES |= {"Q": SIZES["P"], "P>F>Q": SIZES["P>F"]}


def scores_table(scores: pd.DataFrame) -> Table:
    """All sequences with their scores and sizes; what is wrong with a size is its note."""
    notes, rows = Notes(), []
    for row in scores.to_dict("records"):
        values = [entry(row[metric], float(stderr(metric, row[metric]))) for metric in METRICS]
        size = Entry(f"{row['model_size_gb']:.1f}")
        if row["sequence"] in SIZES:
            size.notes.append(notes.letter(SIZES[row["sequence"]]))
        if not row["applicable"]:
            values, size = [not_applicable(notes), Entry("-"), Entry("-")], Entry("-")
        rows.append(([row["sequence"]], [*values, size]))
    cells = scores.assign(
        reason=np.where(scores["applicable"], "", NOT_APPLICABLE),
        size_note=scores["sequence"].map(SIZES).fillna(""),
        **{f"{metric}_stderr": stderr(metric, scores[metric]) for metric in METRICS[1:]},
    )
    heads = [*HEADS.values(), "Size (GB)"]
    remarks = [*REMARKS, ERROR_REMARK, FINE_TUNED]
    return Table(CAPTIONS["order_scores"], ["sequence"], heads, rows, *below(notes, remarks), cells)


def changes_tables(changes: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Table]:
    """The published tables of changes by name, with the recomputed numbers; wrong ones are noted."""
    return {
        f"order_{name}": changes_table(name, changes[changes["table"] == name], scores)
        for name in TABLES
    }


def changes_table(name: str, changes: pd.DataFrame, scores: pd.DataFrame) -> Table:
    notes, rows = Notes(), []
    absolute = changes["published_change_abs"].notna().any()
    steps = ["from_sequence", "to_sequence"]
    for ends, own in changes.groupby(steps, sort=False):
        by_metric = {row["metric"]: row for row in own.to_dict("records")}
        entries = [e for m in METRICS for e in change_entries(by_metric[m], absolute, notes)]
        rows.append((list(ends), entries))
    if name == TABLES[0]:
        missing = scores.loc[~scores["applicable"], "sequence"]
        rows += [(["dense", s], [not_applicable(notes), Entry("-"), Entry("-")]) for s in missing]
        changes = pd.concat([changes, unavailable(missing)], ignore_index=True)
    heads = [h for m in METRICS for h in ([HEADS[m], "%"] if absolute else [f"{HEADS[m]} %"])]
    remarks = [*REMARKS, FINE_TUNED]
    caption = CAPTIONS[f"order_{name}"]
    return Table(caption, ["from", "to"], heads, rows, *below(notes, remarks), changes)


def change_entries(row: dict, absolute: bool, notes: Notes) -> list[Entry]:
    """The absolute change where the source has it, and the percentage, noted where it disagrees."""
    percentage = Entry(f"{row['change_pct']:+.2f}")
    if row["agreement"] == "no":
        printed = f"wrong in the source: {row['published_change_pct']:+.2f} is printed"
        percentage.notes.append(notes.letter(f"{printed}, which {row['note']}"))
    elif row["agreement"] == "rounding":
        percentage.notes.append(notes.letter(ROUNDED))
    return [Entry(f"{row['change_abs']:+.2f}"), percentage] if absolute else [percentage]


def unavailable(sequences: pd.Series) -> pd.DataFrame:
    """Rows of changes for sequences without scores."""
    row = {"table": TABLES[0], "from_sequence": "dense", "note": NOT_APPLICABLE}
    return pd.DataFrame([row | {"to_sequence": s, "metric": m} for s in sequences for m in METRICS])


def effect_table(effect: pd.DataFrame) -> Table:
    """A row per pair of orders: both scores and their difference, per metric."""
    notes, rows = Notes(), []
    for ends, own in effect.groupby(["first", "second"], sort=False):
        by_metric = {row["metric"]: row for row in own.to_dict("records")}
        first = by_metric[METRICS[0]]
        swapped = " and ".join(NAMES[x] for x in first["swapped"].split(" and ") if x) or "-"
        if first["status"] == "ok":
            entries = [effect_entry(by_metric[metric]) for metric in METRICS]
        else:
            entries = [Entry("N/A", notes=[notes.letter(first["reason"])]), Entry("-"), Entry("-")]
        rows.append(([*ends, swapped], entries))
    remarks = [
        *REMARKS,
        f"{ERROR_REMARK} Bold: more than 1.96 standard errors from zero.",
        f"Beware: {FINE_TUNED} P>F and P>F>Q have the size of models that were not pruned (see the "
        "scores), so what stands in favour of P before F may be a pruning that was lost.",
    ]
    labels, heads = ["first", "second", "swapped"], list(HEADS.values())
    return Table(CAPTIONS["order_effect"], labels, heads, rows, *below(notes, remarks), effect)


def effect_entry(row: dict) -> Entry:
    printed = entry(row["difference"], row["stderr"], sign="+")
    if abs(row["difference"]) > 1.96 * row["stderr"]:
        printed.mark = "best"
    return printed


def entry(value: float, error: float, sign: str = "") -> Entry:
    return Entry(f"{value:{sign}.2f}", f"{error:.2f}" if np.isfinite(error) else "")


def not_applicable(notes: Notes) -> Entry:
    return Entry("N/A", notes=[notes.letter(NOT_APPLICABLE)])


def below(notes: Notes, remarks: list[str]) -> tuple[dict[str, str], list[str]]:
    """What stands below a table: notes by letter, then its remarks."""
    return notes.by_letter, remarks
