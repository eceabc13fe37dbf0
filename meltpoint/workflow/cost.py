"""What a study will take, before anything runs: disk, and the memory of a job."""

from dataclasses import dataclass
from pathlib import Path

from meltpoint.checkpoints.index import count_parameters
from meltpoint.errors import MeltpointError
from meltpoint.resources import Resources
from meltpoint.study.resolved import Study
from meltpoint.study.sections import (
    GgufModel,
    HubModel,
    LocalModel,
    PackageModel,
    TrainedModel,
)
from meltpoint.text import human_bytes
from meltpoint.workflow.dense_disk import dense_bytes

# What Python, torch and transformers hold before any weight is loaded.
BASELINE_BYTES = 700e6
# The rules that make base models whose size is not known before.
RULES = {HubModel: "fetch_model", GgufModel: "decode_model", PackageModel: "decode_package"}


def model_bytes(study: Study, model: str) -> float | None:
    """The weights of a base model in the study's dtype; None where it is not here yet."""
    parameters = _parameters(study, model)
    width = 4 if study.config.compute.dtype == "float32" else 2
    return None if parameters is None else parameters * width


def _parameters(study: Study, model: str) -> int | None:
    declared = study.config.models[model]
    if isinstance(declared, TrainedModel):
        return declared.train.parameters()
    if isinstance(declared, LocalModel):
        return count_parameters(study.path(declared.path))
    try:
        return count_parameters(Path(f"results/models/{model}"))
    except MeltpointError:
        return None


def memory_mb(study: Study, model: str, factor: float = Resources().memory) -> int:
    """Estimate of a job's memory in MB: what is always held, and a multiple of the model's bytes.

    The weights of a model that is not fetched yet are unknown and count as nothing: `summary` says so.
    """
    return int((BASELINE_BYTES + factor * (model_bytes(study, model) or 0)) / 1e6)


@dataclass(frozen=True)
class JobResources:
    """What a job asks of the machine, in Snakemake's units: MB, GPUs, minutes."""

    study: Study
    model: str
    declared: Resources
    computes: bool = True

    @property
    def mem_mb(self) -> int:
        """Memory in MB."""
        return memory_mb(self.study, self.model, self.declared.memory)

    @property
    def gpu(self) -> int:
        """Number of GPUs: as many as it needs, one where the study computes on one and so does it."""
        on_one = self.computes and self.study.config.compute.device.startswith("cuda")
        return max(self.declared.gpu, int(on_one))

    @property
    def runtime(self) -> int:
        """Minutes after which a cluster may end the job."""
        return self.declared.minutes


def summary(study: Study, source: str) -> str:
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
    return f"Study {config.study} ({source}): {counts}\n{_cost(study)}"


def _cost(study: Study) -> str:
    config = study.config
    kept = [
        (model, chain)
        for model, chain in study.checkpoints
        if config.keep_checkpoints == "all" or (model, chain) in study.prefixes
    ]
    sizes = {model: model_bytes(study, model) for model in config.models}
    hidden, untold = dense_bytes(study)
    disk = sum(sizes[model] or 0 for model, _ in kept) + hidden
    unknown = [model for model, size in sizes.items() if size is None]
    lines = []
    if len(unknown) < len(sizes):
        memory = 1e6 * max(memory_mb(study, model) for model in sizes if model not in unknown)
        lines.append(
            f"When finished, {len(kept)} checkpoints take about {human_bytes(disk)} of disk; "
            f"a job holds about {human_bytes(memory)} of memory"
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
    if unknown:
        rules = dict.fromkeys(RULES[type(config.models[model])] for model in unknown)
        lines.append(
            f"The disk and memory of {', '.join(unknown)} are unknown until fetched: a scheduler is "
            f"asked for {human_bytes(BASELINE_BYTES)} alone. Run `snakemake --until "
            f"{' '.join(rules)}` first"
        )
    return "\n".join(lines)
