"""FLAP against the official code's numbers."""

import pytest

from meltpoint.checkpoints.description import Description
from tests.support.structured_golden import (
    TOLERANCES,
    checkpoint,
    cut_of,
    hash_of,
    parameters_of,
    perplexity,
    rows_of,
)

ROWS = rows_of("flap")


@pytest.mark.parametrize("step", ROWS)
def test_it_is_the_official_code(step, tmp_path):
    row = ROWS[step]
    folder = checkpoint(step, tmp_path / "checkpoint")
    cut = {"heads": cut_of(folder, "self_attn.q_proj", 8), "neurons": cut_of(folder, "mlp.gate_proj")}
    assert hash_of(cut) == row["cut_sha256"]
    assert perplexity(folder) == pytest.approx(row["ppl"], rel=TOLERANCES.get("flap", 1e-4))
    assert Description.read(folder).shapes.parameters == parameters_of(row)
