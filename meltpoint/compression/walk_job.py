"""Input and output of a walk over a decoder's blocks: `Job` and `Outcome`."""

from dataclasses import dataclass, field
from typing import Any

from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.shapes import BlockShape, Shapes
from meltpoint.compression.block_gradients import BlockGradients
from meltpoint.methods import Method
from meltpoint.methods.settings import MethodSettings


@dataclass(frozen=True)
class Job:
    """A method with its settings, and the facts about the checkpoint that a walk starts with.

    `earlier` are facts about the checkpoint's linears, `search` is what the method's search found,
    `gradients` are those of the loss. `parameters` are the numbers of the decoder's parameters, of
    the dense model and before the step. `memory` is the method's own, from block to block,
    `smallest` are numbers that it noted.
    """

    method: Method
    settings: MethodSettings
    earlier: dict[str, Linear] = field(default_factory=dict)
    search: dict[str, Any] | None = None
    gradients: BlockGradients | None = None
    parameters: tuple[int, int] | None = None
    memory: dict = field(default_factory=dict)
    smallest: dict[str, float] = field(default_factory=dict)


@dataclass
class Outcome:
    """Facts about the checkpoint that a walk has written.

    `linears` are facts about the linears by name, `other_matrices` about the blocks' other
    matrices, `stored_as` the keys of linears that are not stored by their names, `warnings` what
    each cell must say. `shapes` those of the new checkpoint, `kept` the indices of the blocks that
    are left; `untied` says that the head became a weight of its own.
    """

    linears: dict[str, Linear] = field(default_factory=dict)
    other_matrices: dict[str, Linear] = field(default_factory=dict)
    stored_as: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    blocks: list[BlockShape] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    shapes: Shapes | None = None
    untied: bool = False
