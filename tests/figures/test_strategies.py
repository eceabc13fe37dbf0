"""The figure of decoding strategies: its panels, rows and markers, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

from meltpoint import evaluations, figures
from meltpoint.analysis.frame import COLUMNS, columns_of
from meltpoint.errors import MeltpointError
from meltpoint.figures.strategies import draw

STRATEGIES = ("sample,top_p=0.95", "greedy", "fsd_d,alpha=0.6")
CHAINS = ("dense", "rtn@4bit")


def rows_of(evaluation: str, task: str, metric: str) -> list[dict]:
    """The frame's rows of one task: values count up over chains and strategies."""
    kind = evaluations.find("generation")
    settings = {"generation": task, "strategies": STRATEGIES, "execute_code": True}
    specs = kind.scores(kind.settings_class(**settings))
    rows = []
    for chain in CHAINS:
        for strategy in STRATEGIES:
            for score in (metric, "rep_4"):
                spec = specs[f"{strategy}.{score}"]
                rows.append(
                    dict.fromkeys(COLUMNS, "")
                    | {"model": "m", "chain": chain, "evaluation": evaluation, "status": "ok"}
                    | {"method": chain.partition("@")[0], "level": chain.partition("@")[2]}
                    | columns_of(spec, f"{STRATEGIES[0]}.{metric}")
                    | {"value": len(rows) / 100, "stderr": 0.01}
                )
    return rows


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        rows_of("code", "mbpp", "pass_at_1") + rows_of("maths", "gsm8k", "exact_match")
    )


def spec_of(**keys):
    keys = {"source": "s", "kind": "strategies", "value": "code", "more": ["maths"], **keys}
    return figures.registry()["strategies"].spec(**keys)


def ticks(ax) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_a_panel_for_each_task_has_deterministic_strategies_above_stochastic_ones():
    left, right = draw(frame(), None, spec_of(labels={"fsd_d,alpha=0.6": "FSD-d"})).axes
    assert [ax.get_title() for ax in (left, right)] == ["code, m", "maths, m"]
    assert ticks(left) == ["greedy", "FSD-d", "sample,top_p=0.95"]
    assert ticks(right) == ["", "", ""], "the same strategies are named once"
    assert left.get_xlabel() == "pass@1"
    assert left.lines[-1].get_ydata()[0] == 1.5


def test_markers_are_the_values_with_their_intervals():
    table = frame()
    left, right = draw(table, None, spec_of(more=["maths.greedy.rep_4"])).axes
    assert right.get_xlabel() == "rep-4"
    for ax, evaluation, metric in ((left, "code", "pass_at_1"), (right, "maths", "rep_4")):
        for chain, drawn in zip(CHAINS, ax.containers, strict=True):
            points, _, (bars,) = drawn
            names = [f"{strategy}.{metric}" for strategy in STRATEGIES]
            expected = table[(table["evaluation"] == evaluation) & (table["chain"] == chain)]
            values = expected.set_index("score")["value"][names]
            np.testing.assert_allclose(points.get_xdata().astype(float), values)
            widths = [np.ptp(segment[:, 0]) for segment in bars.get_segments()]
            np.testing.assert_allclose(widths, 2 * 1.96 * 0.01)
            places = points.get_ydata()
            np.testing.assert_array_equal(np.round(places), [2, 0, 1])


def test_a_refused_score_has_no_marker():
    table = frame()
    refused = (table["score"] == "greedy.pass_at_1") & (table["chain"] == "rtn@4bit")
    table.loc[refused, ["status", "value"]] = ["refused", np.nan]
    left, _ = draw(table, None, spec_of()).axes
    assert [len(drawn[0].get_xdata()) for drawn in left.containers] == [3, 2]


def test_no_score_at_all_is_said():
    table = frame().assign(value=np.nan)
    with pytest.raises(MeltpointError, match="has a score of a strategy to draw"):
        draw(table, None, spec_of())
