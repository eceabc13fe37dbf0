"""Grids on which a base model's weights were before the workflow read them."""

from pydantic import BaseModel, ConfigDict

from meltpoint.text import one_of


class BaseGrid(BaseModel):
    """One type of a GGUF file: how many of the decoder's linears have it, and what it stores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    linears: int
    bits: int
    group_size: int
    symmetric: bool


class BaseQuantization(BaseModel):
    """Types that a base model's tensors had in the quantized file that it was decoded from.

    `grids` are the types that the decoder's linears had in the file, by name; `others` counts the
    file's other tensors by type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    grids: dict[str, BaseGrid]
    others: dict[str, int] = {}

    def warning(self) -> str:
        """Sentence for quantization of such a model."""
        grids = [
            f"{name} ({grid.bits} bits, groups of {grid.group_size})"
            for name, grid in self.grids.items()
        ]
        return (
            f"the base model's weights were rounded before: they come from {one_of(grids)}, so a "
            "grid like that loses less here than it would of a model in 16 bits"
        )
