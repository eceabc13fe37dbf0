"""Checks of steps that need a quantised model: the steps before them must leave one."""

from collections.abc import Sequence

from meltpoint import methods
from meltpoint.chain import Step, spell_chain
from meltpoint.errors import MeltpointError


def check_grids(key: str, steps: Sequence[Step]) -> None:
    """Raises MeltpointError, naming the key, for a step that needs a grid and certainly has none.

    A quantization puts weights on a grid. Other methods that change weights which they keep take them
    off the grid. Fine-tuning may leave some linears on it, so a step after it is checked in its job.
    """
    on_grid = False
    for place, step in enumerate(steps):
        method = methods.find(step.method)
        if method.settings(step).needs_grid and not on_grid:
            base = spell_chain(steps[:place]) if place else "the base model"
            raise MeltpointError(
                f"{key}: {step} starts from a quantised model, and {base} is dense numbers: quantise "
                "right before it, or leave out the setting that asks for it"
            )
        if method.kind == "quantization":
            on_grid = True
        elif method.kind != "finetuning" and method.facts.updates_weights:
            on_grid = False
