"""Which axis of a cell the frame's `achieved` is of, and what has been removed altogether."""

import pytest

from meltpoint.analysis.frame import read_cells
from meltpoint.evaluations.cells import Cell

SIZE = {"value": 3.0, "unit": "weights", "better": "lower"}


def frame_of(tmp_path, kind, **facts):
    """Rows of a cell of one step of a kind."""
    Cell(
        **{"model": "m", "chain": "step@0.3", "evaluation": "e", "kind": "size"},
        **{"main": "parameters", "scores": {"parameters": SIZE}, "protocol": {"size": "weights"}},
        **{"provenance": {}, **facts},
    ).write(tmp_path / "cell.json")
    steps = {"step@0.3": {"method": "step", "level": "0.3", "settings": "", "kind": kind}}
    return read_cells([tmp_path / "cell.json"], steps)


@pytest.mark.parametrize(
    ("kind", "requested", "axis"),
    [
        ("unstructured", {"zeros": 0.5}, (0.5, 0.49)),
        ("structured", {"zeros": 0.5, "level": 0.3}, (0.3, 0.25)),
        ("low-rank", {"parameters": 0.2}, (0.2, 0.25)),
    ],
)
def test_achieved_is_on_the_axis_of_the_last_step(kind, requested, axis, tmp_path):
    achieved = {"zeros": 0.49, "parameters": 0.25, "bits": 32.0}
    row = frame_of(tmp_path, kind, requested=requested, achieved=achieved).iloc[0]
    assert (row["requested"], row["achieved"]) == axis
    assert row["removed"] == pytest.approx(1 - 0.51 * 0.75)
