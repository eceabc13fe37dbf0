"""Texts that a study's models have no positions for, found before anything runs."""

from collections.abc import Iterator
from pathlib import Path

from meltpoint import methods
from meltpoint.checkpoints.positions import positions_of
from meltpoint.errors import at
from meltpoint.study.model_sections import LocalModel
from meltpoint.study.resolved import Study


def check_positions(study: Study) -> None:
    """Raises MeltpointError, naming the key, for texts longer than a model's table of positions.

    A hub's model is known once it is linked; its jobs check the rest.
    """
    for name, model in study.config.models.items():
        linked = Path("results/models", name)
        folder = study.path(model.path) if isinstance(model, LocalModel) else linked
        positions = positions_of(folder)
        if positions and positions.fixed:
            for key, tokens in texts(study, name):
                at(f"{key}: models.{name}", positions.check, tokens)


def texts(study: Study, model: str) -> Iterator[tuple[str, int]]:
    """The key and the number of tokens of each text that a study lets a model read."""
    cells = [cell for cell in study.all_cells if cell[0] == model]
    for evaluation in dict.fromkeys(evaluation for _, _, evaluation in cells):
        declared = study.config.evaluations[evaluation]
        if hasattr(declared, "window"):
            yield f"evaluations.{evaluation}.window", declared.window
        if hasattr(declared, "prompt"):
            yield f"evaluations.{evaluation}.prompt", declared.prompt + declared.generated
    for step in dict.fromkeys(step for _, chain, _ in cells for step in study.steps(chain)):
        method = methods.find(step.method)
        looked_at = [study.settings(step)] if method.calibrated(step) else []
        if method.has_search:
            looked_at.append(settings := study.search_settings(step))
            looked_at.append(settings.get("validation_calibration", {}))
        for settings in looked_at:
            if length := settings.get("windows", {}).get("length"):
                yield f"calibrations.{settings['calibration']}.length", length
