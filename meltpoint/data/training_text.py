"""A text to train on, as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from meltpoint.data.corpora import read_tokens


@dataclass(frozen=True)
class TrainingText:
    """Tokens of a joined text or of records, int32 [tokens], or of given windows [windows, length].

    Records have `offsets`, int64 [records + 1], and `responses`, int64 [records]: the number of a
    record's tokens before its response. `source` is the file of the tokens.
    """

    tokens: np.ndarray
    source: Path
    offsets: np.ndarray | None = None
    responses: np.ndarray | None = None

    @classmethod
    def read(cls, files: Sequence[Path]) -> Self:
        """The text in one file of tokens or windows, or in files of tokens, offsets and responses.

        Raises MeltpointError for a file without tokens.
        """
        source, *rest = files
        if rest:
            offsets, responses = map(np.load, rest)
            return cls(read_tokens(source, dimensions=1), source, offsets, responses)
        array = np.load(source, allow_pickle=False, mmap_mode="r")
        return cls(read_tokens(source, dimensions=max(1, min(2, array.ndim))), source)
