"""Statistics of experts' linears that no calibration token has reached."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from meltpoint.errors import NotApplicable
from meltpoint.model.activation_statistics import Collector, Statistics
from meltpoint.model.as_linears import sent_everything

if TYPE_CHECKING:
    from meltpoint.model.block_walk import Walk


def collect_uncalled(
    walk: "Walk",
    index: int,
    names: tuple[str, ...],
    missing: dict[str, nn.Linear],
    inputs: torch.Tensor,
) -> dict[str, Statistics]:
    """The named statistics, by linear, of experts without tokens; another pass sends them all tokens.

    `missing` are the linears of block `index` that were not called, `inputs` [windows, tokens, hidden]
    the block's inputs. Notes the experts in `walk.unsent`. Raises NotApplicable for a linear that does
    not belong to an expert.
    """
    collector = Collector(missing, names, len(walk.windows))
    with sent_everything(walk.blocks[index], missing) as experts:
        walk.unsent[index] = sorted({*walk.unsent.get(index, ()), *experts})
        for batch in walk.batches():
            with collector.forward_pass(batch.stop - batch.start):
                walk.forward(index, batch, inputs=inputs)
    collector.close()
    if uncalled := [name for name in missing if name not in collector.statistics]:
        raise NotApplicable(
            f"{uncalled[0]} of block {index} was not called on the calibration windows: there are no "
            "statistics of its inputs"
        )
    return collector.statistics
