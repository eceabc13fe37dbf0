"""Job specs for tests that call what a script calls."""

from typing import Any

from meltpoint.workflow.job_specs.documents import CompressSpec, SearchSpec


def compress_spec(
    step: str, settings: dict[str, Any], chain: str | None = None, dtype: str = "float32"
) -> CompressSpec:
    """Spec of a chain's last step; the chain is that step alone where none is given."""
    chain = chain or step
    return CompressSpec(
        chain=chain,
        prefix=chain.rpartition("+")[0] or "dense",
        step=step,
        settings=settings,
        dtype=dtype,
        code="code",
    )


def search_spec(search: str, settings: dict[str, Any]) -> SearchSpec:
    """Spec of a search on the base model."""
    return SearchSpec(search=search, chain="dense", settings=settings, dtype="float32", code="code")
