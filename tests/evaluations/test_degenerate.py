"""Degenerate answers are found, counted and refused."""

import contextlib

import pytest
import torch

from meltpoint.compute import Compute
from meltpoint.evaluations._answers import FiniteLogits
from meltpoint.evaluations._degenerate import (
    is_loop,
    kinds_of,
    refusal,
    repeated,
    share_estimates,
    shares,
)
from meltpoint.evaluations.engines._decoding import Decoding
from meltpoint.evaluations.engines._engine import Engine


@pytest.mark.parametrize(
    ("tokens", "text", "kinds"),
    [
        ([], "", ["empty"]),
        ([2], "", ["empty"]),
        ([5, 5, 2], " \n", ["empty"]),
        ([7] * 7 + [2], "!" * 7, ["looping"]),
        ([7] * 8 + [2], "!" * 8, ["constant", "looping"]),
        ([3, 4, 5, 6, 2], "abcd", []),
        (list(range(10, 90)), "ok", ["cut"]),
        ([*range(10, 89), 2], "ok", []),
        (list(range(10, 26)) * 5, "ok", ["looping", "cut"]),
    ],
)
def test_kinds_of_an_answer(tokens, text, kinds):
    assert kinds_of(tokens, text, end=frozenset([2]), limit=80) == kinds


def test_a_loop_is_periodic_over_64_tokens():
    assert is_loop([1, 2, 3] * 22)
    assert not is_loop([1, 2, 3] * 21)
    assert not is_loop(list(range(17)) * 4)
    assert is_loop([9, 9, 9, *list(range(16)) * 4])


def test_rep_4_is_the_share_of_n_grams_that_occurred_before():
    assert repeated([1, 2, 3]) == 0
    assert repeated([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)


def sample(*kinds: str, text: str = "!!!!!!!!") -> dict:
    return {"degenerate": list(kinds), "text": text}


def test_shares_stand_beside_the_score():
    samples = [sample("constant", "non_finite"), sample("cut"), sample(), sample("cut", "looping")]
    assert shares(samples) == {
        **{"empty": 0, "constant": 0.25, "non_finite": 0.25, "looping": 0.25, "cut": 0.5}
    }
    assert share_estimates(samples)["degenerate.cut"].value == 0.5


def test_a_score_is_refused_above_the_limit_alone():
    samples = [sample("constant", "non_finite")] + [sample()] * 4
    # One answer of five is not more than a fifth, though it is degenerate twice over.
    assert refusal(samples, 0.2) is None
    reason = refusal([sample("empty", text=""), *samples], 0.2)
    assert "33% of 6 answers are degenerate" in reason
    assert refusal(samples, 0.1).endswith("for example '!!!!!!!!'")


def test_loops_and_cuts_are_no_reason_to_refuse():
    assert refusal([sample("looping", "cut")] * 5, 0.2) is None


# --- the published defect --------------------------------------------------------------------------


class HalfPrecision(Decoding):
    """Rows in float16: the attention scores of padding overflow, and NaN spreads over the row.

    The score of a masked position is the lowest float32 number, as the published run had it: minus
    infinity in float16. A row that begins with padding has a query that sees nothing else.
    """

    def __init__(self, prompts: list[list[int]], width: int) -> None:
        longest = max(map(len, prompts))
        self._rows = [longest - len(prompt) for prompt in prompts]
        self._last = [prompt[-1] for prompt in prompts]
        self._width = width
        self._predict()

    def _predict(self) -> None:
        rows = []
        for padding, last in zip(self._rows, self._last, strict=True):
            scores = torch.zeros(4, dtype=torch.float16)
            if padding:
                scores = torch.full((4,), torch.finfo(torch.float32).min).to(torch.float16)
            weight = scores.softmax(dim=0).sum()
            rows.append(torch.arange(self._width).eq((last + 1) % self._width) * weight)
        self.logits = torch.stack(rows).float()

    def append(self, tokens) -> None:
        self._last = list(tokens)
        self._predict()

    def select(self, rows) -> None:
        self._rows, self._last = [self._rows[i] for i in rows], [self._last[i] for i in rows]
        self.logits = self.logits[list(rows)]


class PaddingEngine(Engine):
    """Writes the token after the last one, but for rows that are padded on the left."""

    name, vocabulary, context_length, load_seconds = "padded", 32, None, 0.0

    def nll(self, windows):
        raise NotImplementedError

    def logits(self, windows):
        raise NotImplementedError

    def _rows(self, passes):
        raise NotImplementedError

    def close(self) -> None:
        pass

    @contextlib.contextmanager
    def decoding(self, prompts, max_new_tokens, rows=None, hidden_states=False):
        yield HalfPrecision(prompts, self.vocabulary)


PROMPTS = [[3], [4, 5], [6, 7, 8], [9, 10, 11, 12]]


def answers(batch: int) -> list[dict]:
    """Samples of the prompts' answers, which are right where the next number comes first."""
    finite = FiniteLogits()
    engine = PaddingEngine(Compute(device="cpu", batch=batch))
    texts = engine.generate(PROMPTS, 10, processors=(finite,))
    return [
        {
            "text": "".join(chr(65 + token) for token in tokens),
            "right": tokens[0] == prompt[-1] + 1,
            "degenerate": kinds_of(tokens, "x", limit=10, finite=finite.hold_for(prompt, tokens)),
        }
        for prompt, tokens in zip(PROMPTS, texts, strict=True)
    ]


def test_left_padded_rows_in_half_precision_are_refused():
    """Three of four rows are NaN: the share of right answers is below that of the same model alone."""
    samples = answers(batch=4)
    assert sum(each["right"] for each in samples) == 1
    assert [set(each["degenerate"]) for each in samples[:3]] == [
        {"constant", "non_finite", "looping", "cut"}
    ] * 3
    reason = refusal(samples, 0.2)
    assert "75% of 4 answers are degenerate (constant 75%, non_finite 75%)" in reason
    assert "for example 'AAAAAAAAAA'" in reason


def test_rows_without_padding_are_kept():
    samples = answers(batch=1)
    assert all(each["right"] for each in samples)
    assert refusal(samples, 0.2) is None


def test_masked_tokens_are_no_defect():
    finite = FiniteLogits()
    logits = torch.tensor([[0.0, float("-inf")]])
    assert finite(torch.tensor([[1, 2]]), logits) is logits
    assert finite.hold_for([1, 2], [0])
    finite(torch.tensor([[1, 2, 0]]), torch.tensor([[float("nan"), 1.0]]))
    assert finite.hold_for([1, 2], [0])
    assert not finite.hold_for([1, 2], [0, 0])
