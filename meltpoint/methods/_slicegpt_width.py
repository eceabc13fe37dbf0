"""Residual width that SliceGPT keeps, and the parameters that are left, from shapes alone."""

from collections.abc import Sequence

from torch import nn

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.methods._reach import nearest_level
from meltpoint.methods._residual_rotation import Half, ends, halves
from meltpoint.model.block_parts import rows_of


def kept_width(level: Sparsity, width: int, interval: int) -> int:
    """Number of channels to keep: int((1 - s) width), rounded down to a multiple of `interval`.

    Raises NotApplicable if this is 0, or all channels.
    """
    _check_interval(width, interval)
    kept = int((1 - level.fraction) * width)
    kept -= kept % interval
    if kept == 0:
        raise NotApplicable(
            f"slicegpt@{level} leaves nothing of the residual stream: {width} channels in multiples "
            f"of round_interval={interval}"
        )
    if kept == width:
        raise NotApplicable(
            f"slicegpt@{level} removes 0 of {width} channels of the residual stream"
        )
    return kept


def width_by_parameters(
    level: Sparsity, blocks: Sequence[nn.Module], width: int, interval: int, dense: int
) -> int:
    """Channels to keep so that about this fraction of the `dense` parameters is gone.

    It is a multiple of `interval` below the stream's `width`. Raises NotApplicable for a fraction that
    no such width reaches.
    """
    _check_interval(width, interval)
    choices = list(range(interval, width, interval))
    if not choices:
        raise NotApplicable(
            f"slicegpt removes 0 of {width} channels of the residual stream: there is no smaller "
            f"multiple of round_interval={interval}"
        )
    gone = [1 - decoder_parameters(blocks, width, kept) / dense for kept in choices]
    return choices[nearest_level("slicegpt", gone, level.fraction)]


def _check_interval(width: int, interval: int) -> None:
    if interval > width:
        raise NotApplicable(
            f"round_interval={interval} is above the residual stream's width, {width}: no multiple of "
            "it can be kept"
        )


def decoder_parameters(blocks: Sequence[nn.Module], width: int, kept: int) -> int:
    """Number of the parameters of a decoder's blocks once `kept` channels of the stream are left.

    `width` is that of the first block's inputs. The last block's output keeps its width. The blocks
    need no weights.
    """
    total = sum(parameter.numel() for block in blocks for parameter in block.parameters())
    sliced = min(kept, width)
    passed = [(block, half) for block in blocks for half in halves(block)]
    for place, (block, half) in enumerate(passed, 1):
        is_end = place == len(passed)
        if half.passes(block) and not is_end:
            continue
        width = _width_behind(block, half, width)
        left = width if is_end else min(kept, width)
        total += sliced * left - _size(block, half.shortcut)
        if half.writer is not None:
            total += _read_difference(block, half, sliced)
            total += 0 if is_end else _write_difference(block, half, left)
        sliced = left
    return total


def _width_behind(block: nn.Module, half: Half, width: int) -> int:
    """Width of the stream behind a half; `width` is that in front of it."""
    shortcut = getattr(block, half.shortcut, None)
    return width if shortcut is None else shortcut.shape[1]


def _read_difference(block: nn.Module, half: Half, kept: int) -> int:
    """Change of the number of parameters of readers and norm if `kept` channels are read."""
    norm = block.get_submodule(half.norm)
    count = -sum(parameter.numel() for parameter in norm.parameters())
    for linear in half.readers:
        first, last = ends(linear)
        count += first.out_features * (kept - first.in_features)
        if getattr(norm, "bias", None) is not None and last.bias is None:
            count += last.out_features
    return count


def _write_difference(block: nn.Module, half: Half, kept: int) -> int:
    """Change of the number of parameters of a writer if it writes to `kept` channels."""
    if half.normalised:
        return rows_of(half.writer) * kept - _size(block, half.projection)
    _, last = ends(half.writer)
    return (kept - last.out_features) * (last.in_features + (last.bias is not None))


def _size(block: nn.Module, name: str) -> int:
    matrix = getattr(block, name, None)
    return 0 if matrix is None else matrix.numel()
