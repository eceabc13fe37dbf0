"""Magnitude pruning: the smallest weights of each linear layer are removed.

Metric ``S = |W|``. For a sparsity s each layer has one threshold, the entry of index floor(numel s)
of the sorted metric. Weights at or below it are removed: one more than floor(numel s), and any
ties. For N:M the N largest of every M consecutive weights of a row are kept.

Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks",
NeurIPS 2015; layer-wise as in the code of Sun et al. (Wanda, ICLR 2024).
"""

from meltpoint.chain import Pattern, Sparsity
from meltpoint.methods._masks import at_most_threshold, smallest_of_groups
from meltpoint.methods.contract import Block, Statistics
from meltpoint.methods.settings import AllocatedSettings, CalibratedSettings

kind = "unstructured"
levels = (Sparsity, Pattern)
env = "torch"
statistics = ()


class Settings(AllocatedSettings):
    """The allocation; only where that asks for it is any text looked at."""

    @property
    def calibrated(self) -> bool:
        """True for an allocation that reads the calibration."""
        return self.allocation != "uniform"

    def unused_settings(self) -> set[str]:
        """Names of settings without effect, such as the calibration's if it is not read."""
        unused = set() if self.calibrated else set(CalibratedSettings.model_fields)
        return super().unused_settings() | unused


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity | Pattern, settings: Settings
) -> None:
    """Zeroes the smallest weights of each of the block's linears, in place."""
    for linear in block.linears.values():
        metric = linear.weight.abs()
        if isinstance(level, Pattern):
            removed = smallest_of_groups(metric, level)
        else:
            removed = at_most_threshold(metric, level.fraction)
        linear.weight.masked_fill_(removed, 0)
