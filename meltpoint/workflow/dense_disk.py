"""Disk that the dense models' files take, which chains are measured with."""

import json
from pathlib import Path

from meltpoint import evaluations
from meltpoint.evaluations.contract import EvaluationSettings
from meltpoint.study.resolved import Study
from meltpoint.study.sections import LocalModel, TrainedModel

# Bytes of a .npy file before its numbers, and of a token.
HEADER, TOKEN = 128, 4


def dense_bytes(study: Study) -> tuple[int, list[str]]:
    """Bytes of the dense models' files, and the evaluations of which they are not known yet.

    They are known once a model's config is here and its corpus is tokenised, or the study gives the
    number of windows.
    """
    total, unknown = 0, {}
    for model, evaluation in sorted({(model, name) for model, _, name in study.all_cells}):
        settings = study.config.evaluations[evaluation]
        kind = evaluations.kind_of(settings)
        if not kind.needs(settings).dense_files:
            continue
        vectors = kind.module.dense_vectors(settings, _tokens(study, model, settings, kind))
        width = _width(study, model)
        if vectors is None or width is None:
            unknown[evaluation] = None
        else:
            total += vectors * width * (4 if study.config.compute.dtype == "float32" else 2)
    return total, list(unknown)


def _tokens(
    study: Study, model: str, settings: EvaluationSettings, kind: evaluations.Evaluation
) -> int | None:
    """Number of tokens of an evaluation's corpus, once it is tokenised."""
    folder = f"results/{study.config.study}/tokens/{model}"
    try:
        size = Path(kind.needs(settings).token_files(folder)["tokens"]).stat().st_size
    except OSError:
        return None
    return (size - HEADER) // TOKEN


def _width(study: Study, model: str) -> int | None:
    """Width of what a model's head sees."""
    declared = study.config.models[model]
    if isinstance(declared, TrainedModel):
        return declared.train.hidden
    local = isinstance(declared, LocalModel)
    folder = study.path(declared.path) if local else Path(f"results/models/{model}")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    config = config.get("text_config", config)
    names = ("word_embed_proj_dim", "hidden_size", "n_embd", "d_model")
    return next((config[name] for name in names if config.get(name)), None)
