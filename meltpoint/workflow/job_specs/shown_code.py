"""The code behind what shows cells: tables, figures, analyses, pages."""

from collections.abc import Iterable

from meltpoint import evaluations
from meltpoint.workflow.job_specs.documents import EvaluateSpec, JobSpec
from meltpoint.workflow.staleness import code_hash

# Only cells of GGUF files depend on its modules.
LLAMA = "meltpoint.llamacpp"


def code_over(specs: Iterable[JobSpec], *modules: str) -> str:
    """Hash of modules that read cells, and of the kinds of evaluation, which say what scores are."""
    kinds = {spec.kind for spec in specs if isinstance(spec, EvaluateSpec)}
    named = sorted(evaluations.find(kind).module.__name__ for kind in kinds)
    return code_hash(*modules, *named, without=(LLAMA,))
