"""Cells as documents: what is written is read again, and what is no cell is refused in a sentence."""

import json
import math

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import Cell, Score

OLD = {
    **{"model": "m", "chain": "dense", "evaluation": "e", "status": "ok", "metric": "perplexity"},
    **{"value": 5.0, "stderr": 0.1, "sparsity": {"requested": None, "achieved": 0.0}},
}


def cell(**changes) -> Cell:
    scores = {
        "perplexity": Score(
            value=math.inf,
            stderr=math.nan,
            difference={"value": -math.inf, "stderr": 0.5},
            unit="per token",
            better="lower",
        ),
        "parameters": Score(value=3, unit="weights", better="lower"),
        "acc": Score(status="refused", reason="all answers are empty", unit="%", better="higher"),
    }
    facts = {
        **{"model": "m", "chain": "wanda@0.5", "evaluation": "e", "kind": "perplexity"},
        **{"main": "perplexity", "scores": scores, "requested": {"zeros": 0.5}},
        **{"achieved": {"zeros": 0.5}, "protocol": {"window": 8}, "provenance": {"code": "c"}},
    }
    return Cell(**facts | changes)


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "cell.json"
    cell().write(path)
    read = Cell.read(path)
    assert read.scores["perplexity"].value == math.inf
    assert math.isnan(read.scores["perplexity"].stderr)
    assert read.scores["perplexity"].difference.value == -math.inf
    assert read.scores["acc"] == cell().scores["acc"]
    # NaN equals nothing, so the cells are compared as they are spelled.
    read.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_the_document_has_the_fields_of_the_design(tmp_path):
    cell().write(tmp_path / "cell.json")
    content = json.loads((tmp_path / "cell.json").read_text())
    fields = "model chain evaluation kind status reason main scores requested achieved protocol "
    assert list(content) == f"{fields}provenance cost".split()
    perplexity = content["scores"]["perplexity"]
    assert list(perplexity) == ["status", "value", "stderr", "difference", "unit", "better"]
    assert perplexity["value"] == "inf"
    assert perplexity["stderr"] == "nan"
    assert perplexity["difference"] == {"value": "-inf", "stderr": 0.5}
    assert content["scores"]["parameters"]["value"] == 3
    assert content["scores"]["acc"]["value"] is None
    assert content["cost"].keys() == {"seconds", "peak_memory", "device"}


def test_what_is_not_applicable_has_a_reason_and_no_scores(tmp_path):
    facts = cell().model_dump(exclude={"status", "reason", "scores", "cost"})
    Cell.not_applicable("no kernel", **facts).write(tmp_path / "cell.json")
    read = Cell.read(tmp_path / "cell.json")
    assert (read.status, read.reason, read.scores) == ("not_applicable", "no kernel", {})


def test_a_cell_of_an_older_version_is_refused(tmp_path):
    path = tmp_path / "results/demo/cells/m/dense/e.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(OLD))
    study = tmp_path / "results/demo"
    message = f"{path} is a cell of an older version: delete {study} and run again"
    with pytest.raises(MeltpointError) as error:
        Cell.read(path)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(status="fine"), "status: must be 'ok' or 'not_applicable'"),
        (lambda c: c.update(main="kl"), "has its main score 'kl'"),
        (lambda c: c.update(extra=1), "extra: there is no such key"),
        (lambda c: c.update(status="not_applicable"), "has a reason and no scores"),
        (lambda c: c["scores"]["acc"].update(reason=None), "refused has a reason"),
        (lambda c: c["scores"]["parameters"].update(value=None), "ok has a value"),
        (lambda c: c["scores"]["parameters"].update(value="many"), "scores.parameters.value"),
    ],
)
def test_a_broken_cell_is_refused(change, reason, tmp_path):
    cell().write(tmp_path / "cell.json")
    content = json.loads((tmp_path / "cell.json").read_text())
    change(content)
    (tmp_path / "cell.json").write_text(json.dumps(content))
    with pytest.raises(MeltpointError) as error:
        Cell.read(tmp_path / "cell.json")
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'cell.json'} is not a cell that can be read (")
    assert message.endswith("): delete it and run again")
    assert reason in message


@pytest.mark.parametrize("text", ["", '{"model": "m"', "[1]", "{}"])
def test_what_is_no_cell_at_all(text, tmp_path):
    (tmp_path / "cell.json").write_text(text)
    with pytest.raises(MeltpointError, match=r"cell\.json is not a cell that can be read"):
        Cell.read(tmp_path / "cell.json")
