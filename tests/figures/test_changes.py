"""The figure of changes: its panels, bars, intervals and published diamonds."""

import numpy as np
import pytest

from meltpoint import figures
from meltpoint.errors import MeltpointError
from meltpoint.figures.changes import draw
from tests.support.operation_frames import OPERATIONS, SCORES, frame


def spec_of(**keys):
    law, stem = SCORES
    keys = {"source": "s", "kind": "changes", "value": law, "more": [stem], **keys}
    return figures.registry()["changes"].spec(operations=OPERATIONS, **keys)


def texts(items):
    return [item.get_text() for item in items]


@pytest.fixture(scope="module")
def drawn():
    return draw(frame(), None, spec_of(published_metrics={"lawbench": "lawbench"}))


def test_a_panel_for_each_score_has_a_bar_for_each_sequence(drawn):
    left, right = drawn.axes
    assert [ax.get_title() for ax in (left, right)] == ["LawBench", "STEM"]
    assert texts(left.get_yticklabels()) == ["P", "F", "P→Q", "Q→P", "P→Q→F"]
    bars = {bar.get_y() + bar.get_height() / 2: bar.get_width() for bar in left.patches}
    assert [bars[place] for place in sorted(bars)] == pytest.approx([-20, 100, -40, -50])
    assert "not applicable" in texts(left.texts)
    (interval,) = left.containers[-1].lines[2]
    widths = [np.ptp(segment[:, 0]) for segment in interval.get_segments()]
    assert widths == pytest.approx([2 * 1.96 * 1.0] * 4)


def test_published_changes_are_diamonds(drawn):
    left, right = (next(x for x in ax.lines if x.get_marker() == "D") for ax in drawn.axes)
    assert left.get_xdata()[:2] == pytest.approx([-26.49, 97.83])
    assert not len(right.get_xdata())
    assert "published" in texts(drawn.legends[0].get_texts())


def test_what_an_operation_changes_names_both_sequences():
    figure = draw(frame(), None, spec_of(change="Q", more=[]))
    assert texts(figure.axes[0].get_yticklabels()) == ["P  to  P→Q"]
    assert "published" not in texts(figure.legends[0].get_texts())


def test_a_figure_without_a_change_is_refused():
    with pytest.raises(MeltpointError, match="No cell of lawbench has a change to draw"):
        draw(frame().assign(value=np.nan), None, spec_of())
