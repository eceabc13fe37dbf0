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
    """A method with its settings, and the facts about the checkpoint that a walk starts from.

    `earlier` are facts about the checkpoint's linears by name. `search` is the result of the method's
    search, `gradients` are the gradients of all blocks. `parameters` are two parameter counts of the
    decoder: of the dense model, and of the model before the step. `memory` is the `memory` of all
    blocks, `smallest` the smallest value of each number that `Block.note_smallest` noted.
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

    `linears` and `other_matrices` are facts about the linears and the blocks' other matrices, by name.
    `stored_as` are the keys of linears that are stored under other names. `warnings` are sentences that
    every cell of the checkpoint repeats. `shapes` are those of the new checkpoint, `kept` the old
    indices of its blocks. `untied` is true if the head became a weight of its own.
    """

    linears: dict[str, Linear] = field(default_factory=dict)
    other_matrices: dict[str, Linear] = field(default_factory=dict)
    stored_as: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    blocks: list[BlockShape] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    shapes: Shapes | None = None
    untied: bool = False
