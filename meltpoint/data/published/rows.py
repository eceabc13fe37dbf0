"""Rows of the published tables: a pydantic model for each CSV file.

`nan` and `inf` are published values. An empty cell, if its column allows it, means that nothing was
published. This module imports neither pandas nor NumPy, as a study is checked with it before it runs.
"""

import re
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from meltpoint.data.published.columns import (
    BitWidth,
    Boolean,
    ChainLevel,
    Fraction,
    PruningLevel,
    PublishedNumber,
    SchemeName,
    Text,
)

# Names in llama.cpp of schemes that a table prints in another way.
LLAMA_CPP = {"q8_k_0": "q8_0", "q2_k_m": "q2_k", "fp16": "f16"}
# The column of every table that a study may compare its own with.
PERPLEXITY = "ppl"
# The text of the perplexities in Tables 8 to 10 that a study can compare with.
DATASET = "wikitext2"
TASKS = ("boolq", "piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")


class Row(BaseModel):
    """A row of a published table; columns that the model does not know stay as they are."""

    model_config = ConfigDict(extra="allow")
    # The columns whose values together name one row.
    key: ClassVar[tuple[str, ...]]


class PerplexityRow(Row):
    """A row with the perplexity of a method at a level, with which a study may compare its own."""

    key = ("method", "level")
    ppl: float

    def step(self) -> tuple[str, str] | None:
        """Method as printed, and level in the spelling of `meltpoint.chain`; None for a row without.

        Methods and levels of a chain are joined by `+`.
        """
        return self.method, self.level


class OwnTableRow(PerplexityRow):
    """A row of a table that a user has added."""

    method: Text
    level: ChainLevel


class PruningRow(PerplexityRow):
    """Tables 1 to 3."""

    method: Text
    level: PruningLevel


class QuantizationRow(PerplexityRow):
    """Table 4."""

    key = ("method", "bits")
    method: Text
    bits: BitWidth

    def step(self) -> tuple[str, str]:
        """The method at its bit width."""
        return self.method, f"{self.bits}bit"


class GgufFamilyRow(PerplexityRow):
    """Table 6."""

    key = ("model", "scheme")
    model: Text
    scheme: SchemeName
    ppl_stderr: float
    size_gb: float

    def step(self) -> tuple[str, str]:
        """GGUF at llama.cpp's name of the scheme."""
        return quantization(self.scheme)


class GgufRow(GgufFamilyRow):
    """Table 5."""

    bits: BitWidth
    tokens_per_s: float
    arc_c: PublishedNumber
    arc_e: PublishedNumber
    mmlu: PublishedNumber


class CombinedRow(PerplexityRow):
    """Tables 8 to 10: a pruned or decomposed model, quantized."""

    key = ("table", "method", "quantization", "ratio", "dataset")
    table: int
    method: Text
    quantization: SchemeName
    ratio: Fraction
    dataset: Text
    size_pct: PublishedNumber

    def step(self) -> tuple[str, str] | None:
        """Methods and levels of the row's steps; None for the dense model and the other data set."""
        if self.dataset != DATASET:
            return None
        steps = [(self.method, f"{self.ratio:g}")] if self.ratio else []
        if self.quantization != "FP16":
            steps.append(quantization(self.quantization))
        return tuple(map("+".join, zip(*steps, strict=True))) if steps else None


def quantization(printed: str) -> tuple[str, str]:
    """Method and level of a printed name: GPTQ_4bit, RTN_INT8, Q4_K_M."""
    if match := re.fullmatch(r"(GPTQ|RTN)_\D*(\d)\D*", printed):
        return match[1], f"{match[2]}bit"
    return "GGUF", LLAMA_CPP.get(printed.lower(), printed.lower())


class LowRankRow(PerplexityRow):
    """Table 7, and the points of its figure."""

    key = ("method", "dataset", "sparsity", "source")
    method: Text
    dataset: Text
    seq_len: PublishedNumber
    sparsity: Fraction
    obtained: Text
    source: Text

    def step(self) -> tuple[str, str] | None:
        """The method at its level; None for dense, the other data set and digitised points."""
        if self.dataset != DATASET or self.obtained != "text" or not self.sparsity:
            return None
        return self.method, f"{self.sparsity:g}"


class FigurePointRow(Row):
    """A point of a published figure."""

    key = ("figure", "label", "sparsity")
    figure: Text
    family: Text
    label: Text
    method: Text
    sparsity: Fraction
    ppl: float


class TransitionRow(Row):
    """A published transition point and the parameters of its curve."""

    key = ("label", "obtained")
    family: Text
    label: Text
    method: Text
    s0: Fraction
    obtained: Text
    ppl_at_s0: PublishedNumber
    a: PublishedNumber
    alpha: PublishedNumber
    beta: PublishedNumber
    gamma: PublishedNumber


class TransitionRangeRow(Row):
    """The range of transition points that the source's text gives for a family."""

    key = ("family",)
    family: Text
    low: float
    high: PublishedNumber


class StrategyRow(Row):
    """A score of a model with a decoding strategy; `here` is a study's text for it, without values."""

    key = ("model", "strategy")
    model: Text
    strategy: Text
    here: Text
    pass_at_1: float = Field(ge=0, le=100)


class SequenceRow(Row):
    """The scores of one sequence of operations, in percent."""

    key = ("sequence",)
    sequence: Text
    applicable: Boolean
    lawbench: PublishedNumber
    stem: PublishedNumber
    mmlu_law: PublishedNumber
    model_size_gb: PublishedNumber

    @field_validator("lawbench", "stem", "mmlu_law")
    @classmethod
    def _applicable_sequences_have_scores(cls, score: float, info: ValidationInfo) -> float:
        if info.data.get("applicable") and score != score:
            raise ValueError("the cell is empty, but the sequence is applicable")
        return score


class ChangeRow(Row):
    """A published change of a score from one sequence of operations to another."""

    key = ("table", "from_sequence", "to_sequence", "metric")
    table: Literal[
        "sequence_vs_original",
        "fine_tuning_comparison",
        "pruning_comparison",
        "quantization_comparison",
    ]
    from_sequence: Text
    to_sequence: Text
    metric: Text
    change_abs: PublishedNumber
    change_pct: float


class SearchRow(Row):
    """A run of the parameter search."""

    key = ("model", "pruning_method", "taylor_seq_len", "taylor_num_samples")
    model: Literal["Llama", "Mistral", "Qwen"]
    pruning_method: Literal["taylor", "layerwise", "blockwise"]
    taylor_seq_len: int
    taylor_num_samples: int
    ppl: float
    acc_boolq: float
    acc_piqa: float
    acc_hellaswag: float
    acc_winogrande: float
    acc_arc_easy: float
    acc_arc_challenge: float
    acc_openbookqa: float
    acc_mean: float
    pruning_ratio: Fraction
    grad_mean_ratio: float
    grad_norm_ratio: float
    grad_mean_range: float
    grad_norm_range: float
    extreme_pruning_layers: int

    @field_validator("acc_mean")
    @classmethod
    def _mean_is_that_of_the_tasks(cls, mean: float, info: ValidationInfo) -> float:
        scores = [info.data.get(f"acc_{task}", mean) for task in TASKS]
        if abs(sum(scores) / len(scores) - mean) > 1e-9:
            raise ValueError(
                f"it is not the mean of the seven tasks, {sum(scores) / len(scores):.6g}"
            )
        return mean


MODELS: dict[str, type[Row]] = {
    "mpt_structured_ppl": PruningRow,
    "mpt_unstructured_ppl": PruningRow,
    "mpt_unstructured_ptb_calibration_ppl": PruningRow,
    "mpt_quant_ppl": QuantizationRow,
    "mpt_gguf": GgufRow,
    "mpt_gguf_families": GgufFamilyRow,
    "mpt_lowrank_ppl": LowRankRow,
    "mpt_combined_ppl": CombinedRow,
    "mpt_figure_points": FigurePointRow,
    "mpt_phase_points": TransitionRow,
    "mpt_phase_ranges": TransitionRangeRow,
    "decoding_mbpp": StrategyRow,
    "opseq_scores": SequenceRow,
    "opseq_published_changes": ChangeRow,
    "hgsp_search": SearchRow,
}
