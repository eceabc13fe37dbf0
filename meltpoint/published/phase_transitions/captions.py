"""The tables and figures of model phase transitions: their names, titles, captions and sources."""

from pathlib import Path

from meltpoint.report.entries import Item

CURVES = (
    "mpt_figure_points",
    "mpt_phase_points",
    "mpt_structured_ppl",
    "mpt_unstructured_ppl",
    "mpt_unstructured_ptb_calibration_ppl",
    "mpt_lowrank_ppl",
    "mpt_combined_ppl",
)
TABULATED = (
    "mpt_structured_ppl",
    "mpt_unstructured_ppl",
    "mpt_unstructured_ptb_calibration_ppl",
    "mpt_quant_ppl",
    "mpt_gguf",
    "mpt_gguf_families",
    "mpt_lowrank_ppl",
    "mpt_combined_ppl",
)
DRAWN = (*TABULATED, "mpt_figure_points", "mpt_phase_points", "mpt_phase_ranges")

TABLES = {
    "table01_structured": "Table 1. Structured pruning of LLaMA-2-7B by sparsity: perplexity on "
    "WikiText2. w/o: without fine-tuning.",
    "table02_unstructured": "Table 2. Unstructured and semi-structured pruning of LLaMA-2-7B by "
    "sparsity: perplexity on WikiText2.",
    "table03_unstructured_ptb": "Table 3. Unstructured and semi-structured pruning of LLaMA-2-7B, "
    "calibrated on PTB, by sparsity: perplexity on WikiText2.",
    "table04_quantization": "Table 4. Quantization of LLaMA-2-7B by bits per weight: perplexity on "
    "WikiText2 at a context of 2K tokens.",
    "table05_gguf": "Table 5. GGUF quantization of ten models: perplexity on WikiText2, size, speed "
    "and accuracy.",
    "table06_gguf_families": "Table 6. GGUF quantization of two families of models: perplexity on "
    "WikiText2 and size.",
    "table07_lowrank": "Table 7. Low-rank decomposition of LLaMA-2-7B by the fraction removed: "
    "perplexity.",
    "table08_asvd_rtn": "Table 8. Low-rank decomposition (ASVD) of LLaMA-2-7B by the fraction "
    "removed, with round-to-nearest quantization: perplexity.",
    "table09_sparsegpt_gptq": "Table 9. Unstructured pruning (SparseGPT) of LLaMA-2-7B by sparsity, "
    "with quantization (GPTQ): perplexity on WikiText2 and size.",
    "table10_wanda_gguf": "Table 10. Unstructured pruning (Wanda) of LLaMA-2-7B by sparsity, with "
    "GGUF quantization: perplexity on WikiText2 and size.",
}
BETWEEN_METHODS = "Best of a column bold, second underlined."
BETWEEN_SCHEMES = "Best of a column within a model bold, second underlined."
WITHIN_ROW = "Best perplexity of a row bold, second underlined."
REMARKS = {
    "table01_structured": [BETWEEN_METHODS],
    "table02_unstructured": [
        BETWEEN_METHODS,
        "In the source's figure the label sparsegpt(ptb) holds the values of SparseGPT of this table, "
        "not those calibrated on PTB.",
    ],
    "table03_unstructured_ptb": [BETWEEN_METHODS],
    "table04_quantization": [BETWEEN_METHODS, "SmothQuant: as spelled in the source."],
    "table05_gguf": [
        BETWEEN_SCHEMES,
        "Not published: FP16 of seven models, accuracy of the last three. Errors are the source's.",
    ],
    "table06_gguf_families": [
        BETWEEN_SCHEMES,
        "Schemes as spelled in the source (GGUF itself knows no Q2_K_M and no Q8_K_0).",
    ],
    "table07_lowrank": [
        WITHIN_ROW,
        "SVD-LLM at windows of 512 tokens, ASVD at windows that the source does not name: "
        "perplexity falls with the window, so the two compare only roughly.",
        "The source gives 0.17 as the transition point of ASVD in its text; the star in its figure "
        "is at 0.157.",
    ],
    "table08_asvd_rtn": [WITHIN_ROW],
    "table09_sparsegpt_gptq": [WITHIN_ROW],
    "table10_wanda_gguf": [WITHIN_ROW],
}
STARS = (
    "Curves: the published form (a power law, then an exponential) refitted; stars: where that form "
    "breaks, with 95 % intervals below; hollow stars: the published ones; shaded: the range that the "
    "source's text gives. Whether a break is supported at all says the column `form` of the "
    "transitions: for LLM-Pruner, SLEB, SliceGPT and SVD-LLM a smooth curve does as well."
)
FIGURES = {
    "phase_structured": f"Structured pruning of LLaMA-2-7B. {STARS}",
    "phase_unstructured": f"Unstructured pruning of LLaMA-2-7B. {STARS} The source's figure labels "
    "its curve of SparseGPT as calibrated on PTB; it holds the values that are not.",
    "phase_lowrank": f"Low-rank decomposition of LLaMA-2-7B. {STARS}",
    "patterns": "Unstructured sparsity of 50 % against the patterns 4:8 and 2:4, LLaMA-2-7B.",
    "gguf_bits": "GGUF ladders of ten models over nominal bits: perplexity with its standard error, "
    "ARC-e, ARC-c and MMLU. Dotted lines: chance.",
    "gguf_size": "The same ladders over the size of the file in GB.",
    "regimes": "Methods at 50 % compression (left), and where they break (right): 60, 70 and 80 % of "
    "the weights or of 16 bits removed. LLaMA-2-7B.",
    "contour_wanda_gguf": "Wanda with GGUF. Left: perplexity (colours in even steps of its "
    "logarithm, linear between the cells, which are dots) over sparsity and bits per weight, with the "
    "transition point of each scheme that has one; rings: cells of lower perplexity than any smaller "
    "one; line: the best trade-off, those on the lower convex hull in log size and log perplexity. "
    "Right: the same cells over size, which follows from each scheme's median bits.",
    "contour_sparsegpt_gptq": "SparseGPT with GPTQ, drawn as Wanda with GGUF.",
    "contour_asvd_rtn": "ASVD with round-to-nearest quantization, drawn as Wanda with GGUF; the source "
    "gives no sizes, they are nominal: the fraction kept times the bits.",
}
TRANSITIONS = {
    "transitions": "The 16 published curves on all points of their figures. s0: the refit of the "
    "published form with its 95 % interval, beside the published s0; form: what wins when all forms "
    "compete, where a smooth one says that no transition is supported; note: why a refit differs by "
    "more than 0.05.",
    "transitions_sparse": "The same curves on the points of Tables 1, 2, 3 and 7; covers: whether the "
    "interval holds the s0 of all points.",
    "transitions_other": "Curves of the tables that the source does not fit: other methods, "
    "calibration on PTB, and each quantization of the combined tables.",
}


def items() -> list[Item]:
    """What the report page shows of model phase transitions."""
    return [
        *(item("Transition points", n, c, table=Path(f"{n}.csv")) for n, c in TRANSITIONS.items()),
        *(item("Phase figures", n, c, figure=Path(f"figures/{n}.svg")) for n, c in FIGURES.items()),
        *(item("Published tables", n, c, table=Path(f"tables/{n}.csv")) for n, c in TABLES.items()),
    ]


def item(category: str, name: str, caption: str, **files: Path) -> Item:
    return Item(category, name, TITLES[name], caption, **files)


TITLES = {
    "transitions": "Transition points, published and refitted",
    "transitions_sparse": "Transition points from the sparse tables",
    "transitions_other": "Transition points of other curves",
    "table01_structured": "Table 1: structured pruning",
    "table02_unstructured": "Table 2: unstructured pruning",
    "table03_unstructured_ptb": "Table 3: unstructured pruning, calibrated on PTB",
    "table04_quantization": "Table 4: quantization",
    "table05_gguf": "Table 5: GGUF, ten models",
    "table06_gguf_families": "Table 6: GGUF, two families",
    "table07_lowrank": "Table 7: low-rank decomposition",
    "table08_asvd_rtn": "Table 8: ASVD with RTN",
    "table09_sparsegpt_gptq": "Table 9: SparseGPT with GPTQ",
    "table10_wanda_gguf": "Table 10: Wanda with GGUF",
    "phase_structured": "Structured pruning",
    "phase_unstructured": "Unstructured pruning",
    "phase_lowrank": "Low-rank decomposition",
    "patterns": "Unstructured sparsity against patterns",
    "gguf_bits": "GGUF ladders over bits",
    "gguf_size": "GGUF ladders over size",
    "regimes": "At 50 % and beyond",
    "contour_wanda_gguf": "Wanda with GGUF",
    "contour_sparsegpt_gptq": "SparseGPT with GPTQ",
    "contour_asvd_rtn": "ASVD with RTN",
}
