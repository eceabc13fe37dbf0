"""What each published table must hold: its columns' kinds and the columns that name a row.

Kinds are those of `meltpoint.data.published.column_types`; a question mark allows an empty cell,
which says that nothing was published. `nan` and `inf` are published values of a `number`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schema:
    """Columns with their kinds, and the `key`: those whose values together name one row."""

    columns: dict[str, str]
    key: tuple[str, ...]


def schema(key: str, **columns: str) -> Schema:
    return Schema(columns, tuple(key.split()))


LEVELS = {"method": "text", "level": "level", "ppl": "number"}
ACCURACIES = ("boolq", "piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")
GRADIENTS = ("grad_mean_ratio", "grad_norm_ratio", "grad_mean_range", "grad_norm_range")
FITTED = dict.fromkeys(("ppl_at_s0", "a", "alpha", "beta", "gamma"), "number?")

SCHEMAS = {
    "mpt_structured_ppl": schema("method level", calibration="text", source="text", **LEVELS),
    "mpt_unstructured_ppl": schema("method level", calibration="text", **LEVELS),
    "mpt_unstructured_ptb_calibration_ppl": schema("method level", calibration="text", **LEVELS),
    "mpt_quant_ppl": schema("method bits", method="text", bits="bits", ppl="number"),
    "mpt_gguf": schema(
        "model scheme",
        model="text",
        bits="bits",
        scheme="scheme",
        ppl="number",
        ppl_stderr="number",
        tokens_per_s="number",
        size_gb="number",
        arc_c="number?",
        arc_e="number?",
        mmlu="number?",
    ),
    "mpt_gguf_families": schema(
        "model scheme",
        model="text",
        scheme="scheme",
        ppl="number",
        ppl_stderr="number",
        size_gb="number",
    ),
    "mpt_lowrank_ppl": schema(
        "method dataset sparsity source",
        method="text",
        dataset="text",
        seq_len="integer?",
        sparsity="fraction",
        ppl="number",
        obtained="text",
        source="text",
    ),
    "mpt_combined_ppl": schema(
        "table method quantization ratio dataset",
        table="integer",
        method="text",
        quantization="scheme",
        ratio="fraction",
        dataset="text",
        ppl="number",
        size_pct="number?",
    ),
    "mpt_figure_points": schema(
        "figure label sparsity",
        figure="text",
        family="text",
        label="text",
        method="text",
        sparsity="fraction",
        ppl="number",
    ),
    "mpt_phase_points": schema(
        "label obtained",
        figure="text",
        family="text",
        label="text",
        method="text",
        s0="fraction",
        obtained="text",
        **FITTED,
    ),
    "mpt_phase_ranges": schema(
        "family", family="text", quantity="text", low="number", high="number?"
    ),
    "opseq_scores": schema(
        "sequence",
        sequence="text",
        lawbench="number?",
        stem="number?",
        mmlu_law="number?",
        model_size_gb="number?",
        applicable="boolean",
    ),
    "opseq_published_changes": schema(
        "table from_sequence to_sequence metric",
        table="text",
        from_sequence="text",
        to_sequence="text",
        metric="text",
        change_abs="number?",
        change_pct="number",
    ),
    "hgsp_search": schema(
        "model pruning_method taylor_seq_len taylor_num_samples",
        model="text",
        pruning_method="text",
        taylor_seq_len="integer",
        taylor_num_samples="integer",
        ppl="number",
        acc_mean="number",
        **{f"acc_{task}": "number" for task in ACCURACIES},
        pruning_ratio="fraction",
        **dict.fromkeys(GRADIENTS, "number"),
        extreme_pruning_layers="integer",
    ),
}
# A table of one's own that is put beside a study's: a row for each method and level.
OTHERS = schema("method level", **LEVELS | {"level": "any_level"})
