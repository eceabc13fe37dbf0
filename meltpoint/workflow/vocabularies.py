"""Checkpoints that an evaluation reads besides the measured one, and that must have its tokens."""

import json
from pathlib import Path
from typing import Any

from meltpoint.errors import MeltpointError
from meltpoint.evaluations import kind_of
from meltpoint.study.resolved import Study
from meltpoint.study.source_files import local_models
from meltpoint.workflow.model_sizes import ModelSizes


def check_vocabularies(study: Study) -> None:
    """Raises MeltpointError, naming the evaluation, for a model that has other tokens.

    A model that is not here yet, and of whose tokens nobody knows the number, is left to its jobs.
    """
    sizes = ModelSizes(study)
    for name, settings in study.config.evaluations.items():
        needs = kind_of(settings).needs(settings)
        if not needs.same_vocabulary:
            continue
        others = {study.checkpoint_named(each)[0] for each in needs.checkpoints}
        for model in dict.fromkeys(cell[0] for cell in study.all_cells if cell[2] == name):
            for other in sorted(others - {model}):
                _check(f"evaluations.{name}", study, sizes, (model, other))


def _check(key: str, study: Study, sizes: ModelSizes, both: tuple[str, str]) -> None:
    known = [sizes.of(model) for model in both]
    count, other = (size.vocabulary if size else 0 for size in known)
    tokens = [tokens_of(folder(study, model)) for model in both]
    if (count and other and count != other) or (None not in tokens and tokens[0] != tokens[1]):
        raise MeltpointError(
            f"{key}: {both[1]} has another vocabulary than {both[0]} ({other} tokens against "
            f"{count}): name a model of its family"
        )


def folder(study: Study, model: str) -> Path:
    """Folder in which a base model is, or will be once it is linked."""
    return local_models(study).get(model, Path("results/models", model))


def tokens_of(checkpoint: Path) -> Any:
    """The vocabulary in a checkpoint's tokenizer.json; None where none can be read."""
    try:
        content = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
        return content["model"]["vocab"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
