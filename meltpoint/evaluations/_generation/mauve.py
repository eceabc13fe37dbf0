"""MAUVE of continuations and references (Pillutla et al., arXiv 2102.01454), by its authors' library.

The feature of a text is the dense model's last hidden state at token number `TOKENS`. A pair counts
only if both of its texts have that many tokens, as in Su and Xu (arXiv 2211.10797). Published numbers
use GPT-2 for the features, so these numbers cannot be compared with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._generation.documents import Document
from meltpoint.evaluations.contract import Estimate
from meltpoint.evaluations.generation import FEWEST_FOR_MAUVE
from meltpoint.lazy_import import numpy as np

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine

TOKENS = 128
# Keys of the reference text, which begins with the prompt, in published files.
REFERENCE_KEYS = ("reference", "gold_ref")


def references(key: str, documents: Sequence[Document]) -> list[str]:
    """The reference of each document, a text that begins with the prompt.

    Raises MeltpointError for a document without one, and for too few documents.
    """
    if len(documents) < FEWEST_FOR_MAUVE:
        raise MeltpointError(
            f"{key}.mauve: {len(documents)} texts are too few for MAUVE, which needs "
            f"{FEWEST_FOR_MAUVE}: take more prompts or leave it out"
        )
    found = []
    for document in documents:
        text = next((document.fields[k] for k in REFERENCE_KEYS if k in document.fields), None)
        if not isinstance(text, str):
            raise MeltpointError(
                f"{key}.mauve: document {document.place} has no 'reference', which MAUVE needs: leave "
                "it out for these prompts"
            )
        found.append(text)
    return found


def protocol() -> dict[str, Any]:
    """Featurizer and library of MAUVE, for a cell's protocol."""
    return {
        "featurizer": f"dense model, last hidden state of token {TOKENS}",
        "library": f"mauve-text {version('mauve-text')}",
    }


def score(
    dense: Engine, expected: Sequence[Sequence[int]], written: Mapping[int, Sequence[Sequence[int]]]
) -> Estimate:
    """Mean of MAUVE over seeds, without a standard error; refused if too few pairs are long enough.

    expected: the references' tokens. written: for each seed the tokens of prompts with continuations.
    """
    import mauve

    scores = []
    for texts in written.values():
        pairs = [
            (p, q) for p, q in zip(expected, texts, strict=True) if min(len(p), len(q)) >= TOKENS
        ]
        if len(pairs) < FEWEST_FOR_MAUVE:
            return Estimate(
                refused=f"{len(pairs)} pairs of texts have {TOKENS} tokens, and MAUVE needs "
                f"{FEWEST_FOR_MAUVE}"
            )
        p, q = (features(dense, side) for side in zip(*pairs, strict=True))
        scores.append(mauve.compute_mauve(p_features=p, q_features=q).mauve)
    return Estimate(float(np.mean(scores)))


def features(dense: Engine, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Last hidden states at token number `TOKENS` of each text, float32 [texts, width]."""
    rows = []
    for batch in dense.text_batches([TOKENS] * len(texts)):
        cut = [texts[index][:TOKENS] for index in batch]
        with dense.decoding(cut, 1, hidden_states=True) as decoding:
            rows += zip(batch, decoding.hidden_states[-1][:, -1].float().cpu().numpy(), strict=True)
    return np.stack([row for _, row in sorted(rows, key=lambda each: each[0])])
