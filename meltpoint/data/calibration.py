"""Calibration windows, drawn as the official loaders draw them.

All of them seed Python's `random` right before the loop and draw document and start from that one
stream, so the same seed gives the same windows.
"""

import random

import numpy as np

from meltpoint.errors import MeltpointError


def draw_from_stream(tokens: np.ndarray, samples: int, length: int, seed: int) -> np.ndarray:
    """Windows that start anywhere in a joined corpus, as from WikiText-2 and PTB.

    `tokens` are int32 [tokens], the result int32 [samples, length]. Raises MeltpointError for a
    corpus that is no longer than one window.
    """
    if len(tokens) <= length:
        raise MeltpointError(
            f"the calibration corpus has {len(tokens)} tokens, a window of {length} needs more: "
            "use a shorter length, or a longer text"
        )
    draw = random.Random(seed)
    starts = [draw.randint(0, len(tokens) - length - 1) for _ in range(samples)]
    return np.stack([tokens[start : start + length] for start in starts])


def draw_from_documents(
    tokens: np.ndarray, offsets: np.ndarray, samples: int, length: int, seed: int
) -> np.ndarray:
    """Windows from documents that are longer than one, as from C4.

    A document is drawn until one has more than `length` tokens, then a start in it. `offsets` are
    int64 [documents + 1]. Raises MeltpointError where no document is long enough (the official loop
    does not end there).
    """
    sizes = np.diff(offsets)
    if sizes.max(initial=0) <= length:
        raise MeltpointError(
            f"no document of the calibration corpus has more than {length} tokens (the longest "
            f"has {sizes.max(initial=0)}): use a shorter length, or sampling: stream"
        )
    draw = random.Random(seed)
    windows = []
    while len(windows) < samples:
        document = draw.randint(0, len(sizes) - 1)
        if sizes[document] > length:
            start = offsets[document] + draw.randint(0, int(sizes[document]) - length - 1)
            windows.append(tokens[start : start + length])
    return np.stack(windows)
