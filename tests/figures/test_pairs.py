"""The figure of pairs: order, colours and tooltips follow the table of pairs."""

import pytest

from meltpoint import figures
from meltpoint.errors import MeltpointError
from tests.support import kept_cells

LOSSES = kept_cells.losses()


def frame(folder, *chains):
    return kept_cells.frame(*(kept_cells.write(folder, chain, LOSSES[chain]) for chain in chains))


def spec(**keys):
    return figures.parse({"source": "x", "kind": "pairs", "value": "ppl", "level": 0.5, **keys})


def test_the_best_is_on_top_and_each_pair_is_there_twice(tmp_path):
    cells = frame(tmp_path, "wanda@0.5", "ria@0.5", "sparsegpt@0.5", "sparsegpt@0.7")
    figure = figures.draw(cells, None, spec(labels={"wanda": "Wanda"}))
    ax = figure.axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["sparsegpt", "Wanda", "ria"]
    found = {(*text.get_position(), text.get_text()) for text in ax.texts}
    assert (1, 0, "-2.38") in found
    assert (0, 1, "+2.38") in found
    assert len(ax.patches) == len(ax.texts) == 6
    colours = {tuple(patch.get_facecolor()) for patch in ax.patches}
    assert len(colours) == 3
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == [
        *("better", "worse", "not told apart")
    ]


def test_an_svg_says_the_p_values(tmp_path):
    target = tmp_path / "pairs.svg"
    figures.save(figures.draw(frame(tmp_path, "wanda@0.5", "ria@0.5"), None, spec()), [target])
    assert "wanda, not told apart: ria" in target.read_text()


def test_one_method_is_no_pair(tmp_path):
    with pytest.raises(MeltpointError, match="a pair needs two chains"):
        figures.draw(frame(tmp_path, "wanda@0.5", "sparsegpt@0.7"), None, spec())
