"""SliceGPT: the residual stream is rotated onto its principal components, and the smallest are cut.

An RMSNorm commutes with rotations of its input. So each site of the residual stream (in front of
attention, and of the MLP) gets an orthogonal basis Q, and matrices ``Q_site^T Q_next`` in the
stream lead from one site to the next. Q are the eigenvectors of ``C = sum_t x_t x_t^T`` with 0.01
times the mean of its diagonal added to the diagonal. x are the calibration's tokens at the site, as
the sliced blocks before it compute them. The k eigenvectors of the largest eigenvalues stay. The
weights are then

    ``W_read <- W_read diag(g) Q[:, :k]``,  ``W_write <- Q[:, :k]^T W_write``

with g the factors of the norm in front. Of a stream of width d, ``k = int((1 - s) d)`` is rounded down
to a multiple of `round_interval`: s is the fraction of the width, not of the parameters. Each block
gains matrices of 2 k^2 numbers, so a small s can make the model larger. The output of the last block
keeps its width, and so do the final norm and the head, which is untied from the embeddings.

Norms keep the model's epsilon, and their mean square is over the width d also when k coordinates
are left (`norm_divisor`). So a sliced stream is normalised as the dense model would. A LayerNorm
also subtracts the mean. The embeddings and the matrices that write to the stream do so instead.
Gemma 2 and 3 have norms after attention and MLP, with a factor for each channel, which no rotation
passes. There a matrix [d, k] after each such norm rotates, and the matrices that write keep their
rows.

The official code sets the epsilon of all norms to 1e-5 (`norm_epsilon`), and subtracts the embeddings'
mean over the width also where the norms are RMSNorms, which changes the model (`center_embeddings`).
`official` sets both. The official code also rotates the last block's output and the head, where nothing
is cut. Here they stay as they are, and the function is the same.

Ashkboos, Croci, do Nascimento, Hoefler and Hensman, "SliceGPT: Compress Large Language Models by
Deleting Rows and Columns", ICLR 2024.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import LazyModule
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import CalibratedSettings, OfficialSettings, ShapeSettings

block_parts = LazyModule("meltpoint.model.block_parts")
rotation = LazyModule("meltpoint.methods._residual_rotation")
shaped = LazyModule("meltpoint.model.shaped")
slicing = LazyModule("meltpoint.methods._residual_slicing")
surgery = LazyModule("meltpoint.model.surgery")
widths = LazyModule("meltpoint.methods._slicegpt_width")

if TYPE_CHECKING:
    from torch import nn

    from meltpoint.model.model_parts import ModelParts

kind = "structured"
levels = (Sparsity,)
env = "torch"
updates_weights = True
rescales_norms = True


class Settings(CalibratedSettings, OfficialSettings, ShapeSettings):
    """Extent and basis of the cut, and the official code's deviations from the model."""

    official_defaults: ClassVar[dict[str, Any]] = {"norm_epsilon": 1e-5, "center_embeddings": True}

    round_interval: int = Field(
        8, ge=1, description="The width that is kept is a multiple of this."
    )
    final_orientation: Literal["pca", "random"] = Field(
        "pca",
        description="Basis of what is kept: the principal components, or a random rotation of them "
        "by `seed` (0 where it is unset). The function is the same.",
    )
    norm_epsilon: float | None = Field(
        None, gt=0, description="Epsilon of all norms. Default: the model's own."
    )
    norm_divisor: Literal["model", "sliced"] = Field(
        "model",
        description="Width that a norm's sum of squares is divided by: the model's, or that of the "
        "sliced stream.",
    )
    center_embeddings: bool = Field(
        False,
        description="Whether the embeddings lose their mean over the width also in a model with "
        "RMSNorms, which does not compute the same then. With LayerNorms they always do.",
    )


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Rotates and slices the residual stream through the block, in place."""
    if not block_parts.BlockParts(block.module).norms_lead:
        raise NotApplicable(
            f"slicegpt cannot rotate a {type(block.module).__name__} that normalises after the "
            "residual addition: its LayerNorm subtracts the mean where no matrix follows"
        )
    if "stream" not in block.memory:
        kept = _kept_width(block, level, settings)
        centred = rotation.subtracts_mean(block.decoder)
        block.memory["stream"] = slicing.Stream(settings, kept, centred)
        slicing.enter(block, block.memory["stream"])
    slicing.slice_block(block, block.memory["stream"])


def _kept_width(block: Block, level: Sparsity, settings: Settings) -> int:
    """Channels of the stream that stay; raises NotApplicable for too few tokens to choose them by."""
    windows, length, width = block.hidden.shape
    if windows * length < width:
        raise NotApplicable(
            f"the calibration {settings.calibration} has {windows * length} tokens, fewer than the "
            f"{width} channels of the residual stream: their covariance is singular"
        )
    if settings.of == "nominal":
        return widths.kept_width(level, width, settings.round_interval)
    dense, _ = block.parameters
    interval = settings.round_interval
    return widths.width_by_parameters(level, block.decoder, width, interval, dense)


def finish(parts: "ModelParts", memory: dict[str, Any]) -> None:
    """Rotates what makes the first block's inputs, and so unties the head from the embeddings."""
    stream, (into, _) = memory["stream"], parts.projections
    if stream.centred and parts.norm is None:
        raise NotApplicable(
            "slicegpt subtracts the stream's mean, and the model has no final norm that does: its head "
            "would read other numbers"
        )
    if into is None:
        _rotate(parts.embeddings, stream.embedding)
    else:
        rotation.write_rows(into, stream.embedding)
    if parts.positions is not None:
        _rotate(parts.positions, stream.embedding)
    if stream.settings.norm_epsilon:
        setattr(parts.norm, shaped.eps_name(parts.norm), stream.settings.norm_epsilon)


def _rotate(table: "nn.Embedding", basis: Tensor) -> None:
    surgery.set_parameter(table, "weight", rotation.product(table.weight, basis))
