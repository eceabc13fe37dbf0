"""Shapes of a checkpoint's decoder blocks that its config cannot express. Read without torch.

A step may cut a block's linears, change its head counts and widths, put two factors in the place of a
linear, add biases, remove attention or MLP, or change the residual width. `Shapes` says what is left.
`meltpoint.model.shaped` reads it off a model and builds a model by it.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Norm(BaseModel):
    """A normalisation layer: its width and epsilon.

    `kind` is "rms" for `torch.nn.RMSNorm`, which a step may put in the place of another norm, and
    "own" for the class that the architecture has there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["own", "rms"] = "own"
    width: int
    eps: float
    affine: bool = True


class LinearShape(BaseModel):
    """Rows (outputs) and columns (inputs) of a linear, and whether it has a bias."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    columns: int
    bias: bool

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns} {'with' if self.bias else 'without'} a bias"


class BlockShape(BaseModel):
    """Shape of one decoder block.

    Head counts and head width are None where the block has no attention, `intermediate` is None where
    it has no MLP; all of them are None for an architecture whose parts are not known. `width` is the
    width of the hidden states that the block takes. `shortcuts` are the matrices [width before, width
    after] that the residual stream is multiplied by before the output of "attention" or "mlp" is
    added. `projections` are those [width of the norm, width of the stream] that the outputs of norms
    behind attention and MLP are multiplied by. `constants` are the widths of the vectors that are added
    in the place of a removed "attention" or "mlp". `norms` are by their names in the block; a norm that
    is not among them was removed.
    `linears` are by their names in the block; the factors of the linear NAME are NAME.0, which runs
    first, and NAME.1. `parameters` counts all of the block's weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    heads: int | None = None
    kv_heads: int | None = None
    head_width: int | None = None
    intermediate: int | None = None
    width: int | None = None
    shortcuts: dict[str, tuple[int, int]] = {}
    projections: dict[str, tuple[int, int]] = {}
    constants: dict[str, int] = {}
    norms: dict[str, Norm] = {}
    linears: dict[str, LinearShape] = {}
    parameters: int


class Shapes(BaseModel):
    """Shapes of a checkpoint, block by block and outside of the blocks.

    `others` are the shapes of the parameters outside of the blocks, `norms` the norms there.
    `irregular` is None where the checkpoint is an ordinary Hugging Face folder: where a model built
    from its config alone has these shapes. Otherwise it says what the config cannot express.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    blocks: list[BlockShape]
    others: dict[str, tuple[int, ...]]
    norms: dict[str, Norm] = {}
    irregular: str | None = None

    @property
    def parameters(self) -> int:
        """Number of the decoder's parameters: all weights of its blocks."""
        return sum(block.parameters for block in self.blocks)
