"""Resources of each rule's jobs: memory, GPUs, minutes and disk."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from meltpoint import evaluations, methods
from meltpoint.chain import Step
from meltpoint.errors import MeltpointError
from meltpoint.evaluations import Evaluation
from meltpoint.resources import Resources
from meltpoint.study.resolved import Study
from meltpoint.workflow import searches
from meltpoint.workflow.dense_disk import vectors_bytes
from meltpoint.workflow.job_costs import solves, tokens_in
from meltpoint.workflow.model_sizes import ModelSize, ModelSizes
from meltpoint.workflow.walk_memory import walk_bytes

if TYPE_CHECKING:
    from snakemake.iocontainers import Wildcards

# What Python, torch and transformers hold before any weight is loaded, and pandas and matplotlib.
BASELINE_MB, ANALYSIS_MB = 700, 2000
# What compression libraries are imported with: a process of `awq` on a model of 9 MB holds 1062 MB.
LIBRARY_MB = 1300
# Logits that an engine holds at once, float32: of a batch on the CPU, with what is computed from them.
# A perplexity of SmolLM2-135M took 2.1 GB, a gigabyte of it beside Python's and the weights.
LOGITS_BYTES = 3 * 4 * 2048
# Logs, cells and what is kept beside them.
SMALL_MB = 100
# A training holds gradients, an optimiser's moments and activations beside the weights. Linking holds
# one block and the embeddings; a corpus is held as text and as tokens.
TRAINING = Resources(memory=16.0, disk=1.0)
LINKING = Resources(memory=1.0, disk=0.0)
# A GGUF file is decoded to float32, whatever the study's dtype.
DECODING = Resources(memory=2.0, disk=2.0)
TOKENISING_MB = 4000
TOKENISING = Resources(memory=0.1, disk=0.0)
ANALYSIS_MINUTES = 120


@dataclass(frozen=True)
class JobResources:
    """What a job asks of the machine, in Snakemake's units: MB, GPUs, minutes."""

    mem_mb: int
    gpu: int
    runtime: int
    disk_mb: int


class RuleResources:
    """The resources of a study's rules, each as the functions that Snakemake asks for a job's."""

    def __init__(self, study: Study, sizes: ModelSizes) -> None:
        self.study, self.sizes = study, sizes

    # --- for the rules --------------------------------------------------------------------------

    def compression(self) -> dict[str, Callable]:
        """Resources of compressions and searches, as their methods declare them."""
        return _asked(self.of_compression)

    def evaluation(self) -> dict[str, Callable]:
        """Resources of measurements, as their kinds declare them."""
        return _asked(lambda w: self.of_evaluation(w.model, w.chain, w.evaluation))

    def training(self) -> dict[str, Callable]:
        """Resources of training a model."""
        return _asked(lambda w: self.of_model(w.model, TRAINING))

    def linking(self) -> dict[str, Callable]:
        """Resources of fetching and linking a model, whose weights are read once."""
        return _asked(lambda w: self.of_model(w.model, LINKING))

    def decoding(self) -> dict[str, Callable]:
        """Resources of decoding a GGUF file."""
        return _asked(lambda w: self.of_model(w.model, DECODING))

    def tokenising(self) -> dict[str, Callable]:
        """Resources of tokenising a corpus."""
        return _asked(lambda w: self.of_model(w.model, TOKENISING, TOKENISING_MB))

    def analysis(self) -> dict[str, Callable]:
        """Resources of tables, figures, fits and pages."""
        return _asked(lambda _: JobResources(ANALYSIS_MB, 0, ANALYSIS_MINUTES, SMALL_MB))

    # --- of one job -----------------------------------------------------------------------------

    def of_compression(self, wildcards: "Wildcards") -> JobResources:
        """Resources of a compression's or a search's job."""
        step = searches.step_of(self.study, wildcards)
        if not hasattr(wildcards, "search"):
            return self._of_step(wildcards.model, step)
        declared = methods.find(step.method).resources.model_copy(update={"disk": 0.0})
        return self._job(wildcards.model, declared, self._gpus(declared))

    def of_chain(self, model: str, chain: str) -> JobResources:
        """Resources of the compression that a chain ends with."""
        return self._of_step(model, self.study.steps(chain)[-1])

    def _of_step(self, model: str, step: Step) -> JobResources:
        """A step that works block by block keeps its hidden states, and for a moment the last ones."""
        method, disk_mb = methods.find(step.method), 0.0
        size = self.sizes.of(model)
        if method.is_blockwise and self.study.config.compute.resume is not False and size:
            tokens = tokens_in(self.study.settings(step).get("windows", {}))
            disk_mb = 2 * tokens * (size.width or 0) * self.sizes.width / 1e6
        gpus = self._gpus(method.resources)
        baseline = LIBRARY_MB if method.libraries else BASELINE_MB
        job = self._job(model, method.resources, gpus, baseline, disk_mb)
        walked = self._walk_bytes(size, step) if size else None
        if walked is None:
            return job
        return replace(job, mem_mb=min(job.mem_mb, int(BASELINE_MB + walked / 1e6)))

    def _walk_bytes(self, size: ModelSize, step: Step) -> float | None:
        """Bytes that a walk holds; None for a step that holds the whole model, or declares its memory.

        Gradients, and searches between rounds, are computed on more than a block.
        """
        method, settings = methods.find(step.method), methods.find(step.method).settings(step)
        whole = not method.is_blockwise or method.rounds(settings) > 1
        whole = whole or (method.needs_gradients and not method.has_search)
        if whole or "memory" in method.resources.model_fields_set:
            return None
        windows = self.study.settings(step).get("windows", {})
        return walk_bytes(size, self.sizes.width, windows, outer_products=solves(method, settings))

    def of_evaluation(self, model: str, chain: str, evaluation: str) -> JobResources:
        """Resources of a measurement's job; the dense model's writes hidden states as well."""
        settings = self.study.config.evaluations[evaluation]
        kind = evaluations.kind_of(settings)
        declared = kind.resources.model_copy(update={"disk": 0.0})
        hidden = vectors_bytes(self.study, self.sizes, model, evaluation) if chain == "dense" else 0
        size, baseline = self.sizes.of(model), BASELINE_MB
        if kind.opens_engine and size:
            baseline += LOGITS_BYTES * size.vocabulary / 1e6
        gpus = self._gpus(kind.resources, kind)
        return self._job(model, declared, gpus, baseline, disk_mb=(hidden or 0) / 1e6)

    def of_model(
        self, model: str, declared: Resources, baseline: int = BASELINE_MB
    ) -> JobResources:
        """Resources of what is done with a base checkpoint on the CPU."""
        return self._job(model, declared, 0, baseline)

    def _job(
        self,
        model: str,
        declared: Resources,
        gpu: int,
        baseline: float = BASELINE_MB,
        disk_mb: float = 0.0,
    ) -> JobResources:
        megabytes = (self.sizes.bytes(model) or 0) / 1e6
        return JobResources(
            int(baseline + declared.memory * megabytes),
            gpu,
            declared.minutes,
            int(SMALL_MB + declared.disk * megabytes + disk_mb),
        )

    def _gpus(self, declared: Resources, kind: Evaluation | None = None) -> int:
        """Number of GPUs: as many as a job needs, one for a job that computes in a study on a GPU."""
        computes = kind is None or kind.computes
        on_one = computes and self.study.config.compute.device.startswith("cuda")
        return max(declared.gpu, int(on_one))


def check_gpus(study: Study) -> None:
    """Raises MeltpointError for a method or an evaluation that needs a GPU in a study on the CPU."""
    if study.config.compute.device != "cpu":
        return
    steps = {step.method for _, chain in study.checkpoints for step in study.steps(chain)}
    named = {name: methods.find(name).resources for name in steps}
    used = {name for _, _, name in study.all_cells}
    kinds = {name: evaluations.kind_of(study.config.evaluations[name]) for name in used}
    named |= {name: kind.resources for name, kind in kinds.items()}
    if needing := sorted(name for name, declared in named.items() if declared.gpu):
        raise MeltpointError(
            f"compute.device: cpu: {needing[0]} cannot run without a GPU: set it to auto or cuda, or "
            f"leave {needing[0]} out"
        )


def _asked(of_job: Callable[["Wildcards"], JobResources]) -> dict[str, Callable]:
    """The functions by resource; a job that is tried again gets its time again for each try."""
    return {
        "mem_mb": lambda wildcards: of_job(wildcards).mem_mb,
        "gpu": lambda wildcards: of_job(wildcards).gpu,
        "runtime": lambda wildcards, attempt: attempt * of_job(wildcards).runtime,
        "disk_mb": lambda wildcards: of_job(wildcards).disk_mb,
    }
