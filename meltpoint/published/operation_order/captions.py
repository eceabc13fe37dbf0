"""The tables and figures of the order study: names, titles, captions and sources."""

from pathlib import Path

from meltpoint.report.entries import Item

CATEGORY = "Operation order"
SOURCES = ("opseq_scores", "opseq_published_changes")
CHANGES = {
    "order_sequence_vs_original": "Every sequence against the original",
    "order_fine_tuning_comparison": "What fine-tuning changes",
    "order_pruning_comparison": "What pruning changes",
    "order_quantization_comparison": "What quantization changes",
}
TITLES = {
    "order_scores": "Scores of all sequences",
    "order_effect": "The order effect",
    **CHANGES,
}
RECOMPUTED = "Recomputed from the printed scores."
CAPTIONS = {
    "order_scores": "Scores after each sequence of operations.",
    "order_effect": "The order effect: the same operations in two orders. A difference is the score "
    "of the second order less that of the first, in points.",
    "order_sequence_vs_original": "Change of each score against the original model, in percent. "
    f"{RECOMPUTED}",
    "order_fine_tuning_comparison": "What fine-tuning changes, in percent of the score before it. "
    f"{RECOMPUTED}",
    "order_pruning_comparison": "What pruning changes, in points and in percent of the score before. "
    f"{RECOMPUTED}",
    "order_quantization_comparison": "What quantization changes, in points and in percent of the "
    f"score before it. {RECOMPUTED}",
}
DRAWN = (
    "Bars of MMLU carry the 95 % interval that its number of questions allows. The scores "
    "of MMLU are far below chance, since most answers are degenerate."
)


def items() -> list[Item]:
    """What the report page shows of the order study."""
    files = {name: {"table": Path(f"tables/{name}.csv")} for name in TITLES}
    for name in CHANGES:
        files[name]["figure"] = Path(f"figures/{name}.svg")
    changes = Item(
        CATEGORY,
        "order_changes",
        "All published changes, checked",
        "Each published change beside the one that follows from the scores; `agrees` says whether "
        "the printed percentage is compatible with the scores at their printed rounding.",
        table=Path("order/changes.csv"),
    )
    captions = {n: f"{CAPTIONS[n]} {DRAWN}" if n in CHANGES else CAPTIONS[n] for n in TITLES}
    return [*(Item(CATEGORY, n, TITLES[n], captions[n], **files[n]) for n in TITLES), changes]
