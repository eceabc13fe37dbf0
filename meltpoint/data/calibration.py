"""Calibration windows, drawn as the official loaders draw them.

The official loaders seed Python's `random` right before the loop, and draw documents and starts from
it. The same seed therefore gives the same windows here.
"""

import random

import numpy as np

from meltpoint.errors import MeltpointError


def draw_from_stream(tokens: np.ndarray, samples: int, length: int, seed: int) -> np.ndarray:
    """Windows that start anywhere in a joined corpus, int32 [samples, length]: WikiText-2 and PTB.

    tokens: int32 [tokens]. Raises MeltpointError for a corpus that is no longer than one window.
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
    """Windows from documents that are longer than a window, int32 [samples, length]: C4.

    Documents are drawn until one has more than `length` tokens; then a start in it is drawn. tokens:
    int32 [tokens]. offsets: int64 [documents + 1]. Raises MeltpointError if no document is long enough,
    for which the official loop would not end.
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


def take_first_documents(
    tokens: np.ndarray,
    offsets: np.ndarray,
    characters: np.ndarray,
    samples: int,
    length: int,
    min_characters: int,
    end: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the first documents with at least `min_characters`, and their lengths before padding.

    A document is cut at `length` tokens, or padded on the right with the token `end`, which is None for
    a tokenizer without one. tokens: int32 [tokens]. offsets: int64 [documents + 1]. characters: int64
    [documents]. Results are int32 [samples, length] and int64 [samples]. Raises MeltpointError for too
    few documents, and if a document needs padding and there is no end token.
    """
    chosen = np.flatnonzero(characters >= min_characters)
    if len(chosen) < samples:
        raise MeltpointError(
            f"the calibration corpus has {len(chosen)} documents of at least {min_characters} "
            f"characters, {samples} are needed: use fewer samples, or a smaller min_characters"
        )
    chosen = chosen[:samples]
    lengths = np.minimum(np.diff(offsets)[chosen], length)
    if lengths.min() < length and end is None:
        raise MeltpointError(
            f"a document has {lengths.min()} tokens, a window {length}, and the tokenizer has no end "
            "token to pad with: use a shorter length"
        )
    windows = np.full((samples, length), -1 if end is None else end, dtype=np.int32)
    for window, document, size in zip(windows, chosen, lengths, strict=True):
        window[:size] = tokens[offsets[document] : offsets[document] + size]
    return windows, lengths.astype(np.int64)
