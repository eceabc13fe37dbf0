"""Disk that the dense models' files take, which chains are measured with."""

from pathlib import Path

from meltpoint import evaluations
from meltpoint.evaluations.contract import EvaluationSettings
from meltpoint.study.resolved import Study
from meltpoint.workflow.model_sizes import ModelSizes

# Bytes of a .npy file before its numbers, and of a token.
HEADER, TOKEN = 128, 4


def dense_bytes(study: Study, sizes: ModelSizes) -> tuple[int, list[str]]:
    """Bytes of the dense models' files, and the evaluations of which they are not known yet.

    They are known once a model's config is and its corpus is tokenised, or the study gives the
    number of windows.
    """
    total, unknown = 0, {}
    for model, evaluation in sorted({(model, name) for model, _, name in study.all_cells}):
        size = vectors_bytes(study, sizes, model, evaluation)
        if size is None:
            unknown[evaluation] = None
        total += size or 0
    return total, list(unknown)


def vectors_bytes(study: Study, sizes: ModelSizes, model: str, evaluation: str) -> int | None:
    """Bytes of a dense model's files for one evaluation; None where they are not known yet."""
    settings = study.config.evaluations[evaluation]
    kind = evaluations.kind_of(settings)
    if not kind.needs(settings).dense_files:
        return 0
    vectors = kind.module.dense_vectors(settings, tokens_of(study, model, settings))
    size = sizes.of(model)
    if vectors is None or size is None or size.width is None:
        return None
    return vectors * size.width * sizes.width


def tokens_of(study: Study, model: str, settings: EvaluationSettings) -> int | None:
    """Number of tokens of an evaluation's corpus, once it is tokenised."""
    folder = f"results/{study.config.study}/tokens/{model}"
    try:
        files = evaluations.kind_of(settings).needs(settings).token_files(folder)
        size = Path(files["tokens"]).stat().st_size
    except (OSError, KeyError):
        return None
    return (size - HEADER) // TOKEN
