"""What a study will take, before anything runs: disk, and the memory of a job."""

from meltpoint.study.resolved import Study
from meltpoint.text import human_bytes
from meltpoint.workflow.dense_disk import dense_bytes
from meltpoint.workflow.model_sizes import ModelSizes
from meltpoint.workflow.rule_resources import RuleResources


def summary(study: Study, sizes: ModelSizes, source: str) -> str:
    """Summary of the study and of its cost, for a person; `source` is its file's name."""
    config = study.config
    counts = ", ".join(
        f"{count} {thing}{'' if count == 1 else 's'}"
        for count, thing in (
            (len(config.models), "model"),
            (len(study.checkpoints), "checkpoint"),
            (len(study.all_cells), "cell"),
            (len(config.tables), "table"),
            (len(config.figures), "figure"),
        )
    )
    return f"Study {config.study} ({source}): {counts}\n{_cost(study, sizes)}"


def _cost(study: Study, sizes: ModelSizes) -> str:
    config = study.config
    kept = [
        (model, chain)
        for model, chain in study.checkpoints
        if config.keep_checkpoints == "all" or (model, chain) in study.prefixes
    ]
    hidden, untold = dense_bytes(study, sizes)
    disk = sum(sizes.bytes(model) or 0 for model, _ in kept) + hidden
    lines = []
    if len(sizes.unknown) < len(config.models):
        lines.append(
            f"When finished, {len(kept)} checkpoints take about {human_bytes(disk)} of disk; "
            f"a job holds about {human_bytes(1e6 * peak_mb(study, sizes))} of memory"
        )
    if hidden:
        lines.append(
            f"Of that, {human_bytes(hidden)} are hidden states of dense models, which may be deleted"
        )
    if untold:
        lines.append(
            f"The dense models' hidden states of {', '.join(untold)} are not counted: the number of "
            "tokens is not known yet"
        )
    if hint := sizes.hint():
        lines.append(f"Warning: {hint}")
    return "\n".join(lines)


def peak_mb(study: Study, sizes: ModelSizes) -> int:
    """Memory in MB of the job of the study's cells that asks for most."""
    resources = RuleResources(study, sizes)
    cells = [resources.of_evaluation(*cell) for cell in study.all_cells]
    steps = [resources.of_chain(*checkpoint) for checkpoint in study.checkpoints]
    return max(job.mem_mb for job in [*cells, *steps])
