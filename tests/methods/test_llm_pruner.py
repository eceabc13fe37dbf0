"""LLM-Pruner against the official code's numbers, its scores and its choice of units."""

import pytest

from meltpoint.checkpoints.description import Description
from tests.support import structured_golden as golden

ROWS = golden.rows_of("llm_pruner")


def prune_out_channels(folder, expanded):
    """The cut channels of q, k and gate as the official code's log has them."""
    heads = {
        "q": golden.cut_of(folder, "self_attn.q_proj"),
        "gate": golden.cut_of(folder, "mlp.gate_proj"),
    }
    heads["k"] = heads["q"] if expanded else golden.cut_of(folder, "self_attn.k_proj")
    places = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "gate": "mlp.gate_proj"}
    return {
        f"model.layers.{index}.{places[name]}:prune_out_channels": channels
        for name, blocks in heads.items()
        for index, channels in enumerate(blocks)
        if channels
    }


@pytest.mark.parametrize("step", ROWS)
def test_it_is_the_official_code(step, tmp_path):
    row = ROWS[step]
    folder = golden.checkpoint(step, tmp_path / "checkpoint")
    cut = prune_out_channels(folder, "expand_kv" in step)
    assert golden.hash_of(cut) == row["cut_sha256"]
    assert golden.perplexity(folder) == pytest.approx(row["ppl"], rel=1e-4)
    if "expand_kv" not in step:
        assert Description.read(folder).shapes.parameters == golden.parameters_of(row)
