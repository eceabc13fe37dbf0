"""Keys of tables and figures of what operations change, and the checks of what they name."""

from pydantic import Field

from meltpoint.analysis.output_keys import Output
from meltpoint.analysis.references import StudyView, check_names
from meltpoint.analysis.sequences import sequence_of
from meltpoint.errors import MeltpointError
from meltpoint.section import Name, ScoreName, Section

METRICS = ("lawbench", "stem", "mmlu_law")


class OfOperations(Section):
    """A table or figure of what operations change."""

    operations: dict[Name, str] = Field(
        default_factory=dict,
        description="Letter of the operation that each method stands for, such as `{shortgpt: P, awq: "
        "Q, lora: F}`. Chains with other methods are left out.",
    )
    change: str = Field(
        "",
        description="Letter of an operation: sequences that end with it are compared with what was "
        "before it. Default: every sequence is compared with the dense model.",
    )
    published_metrics: dict[ScoreName, str] = Field(
        default_factory=dict,
        description="Metric of the published study of the order of operations (`lawbench`, `stem`, "
        "`mmlu_law`) that stands beside a score: `{mmlu.stem: stem}`. Its operations are P, Q and F. "
        "Default: none.",
    )


def check_operations(key: str, study: StudyView, part: Output) -> None:
    """Raises MeltpointError, naming the key, for operations or metrics that are not there.

    part: with the keys of `OfOperations`.
    """
    methods = {step.method for chain in study.chains(part.source) for step in study.steps(chain)}
    if not part.operations:
        raise MeltpointError(
            f"{key}.operations: say which operation each method is, such as "
            f"{{{sorted(methods)[0]}: P}}"
        )
    check_names(f"{key}.operations", part.operations, methods, f"method of {part.source}")
    letters = set(part.operations.values())
    if part.change:
        check_names(f"{key}.change", [part.change], letters, "operation")
    check_names(f"{key}.published_metrics", part.published_metrics, part.evaluations, "score of it")
    metrics = part.published_metrics.values()
    check_names(f"{key}.published_metrics", metrics, METRICS, "published metric")
    sequences = [sequence_of(chain, part.operations) for chain in study.chains(part.source)]
    if not any(sequence and sequence.endswith(part.change) for sequence in sequences):
        raise MeltpointError(f"{key}.operations: no chain of {part.source} has these methods alone")
    if len(study.groups[part.source].models) > 1:
        raise MeltpointError(f"{key}.source: changes are those of one model: name a group of one")
