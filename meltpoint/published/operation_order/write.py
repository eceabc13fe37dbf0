"""All files of the order study."""

from pathlib import Path

import pandas as pd

from meltpoint.analysis.operation_order import TABLES, order_effect, read_study, recompute
from meltpoint.data.published import FOLDER
from meltpoint.figures.style import save
from meltpoint.published.operation_order.figures import draw_changes
from meltpoint.published.operation_order.tables import changes_tables, effect_table, scores_table
from meltpoint.tables.markup import save

COLUMNS = [
    *("table", "from_sequence", "to_sequence", "metric", "change_abs", "change_pct"),
    *("published_change_abs", "published_change_pct", "agrees", "agreement", "note"),
]


def write(results: Path, folder: Path = FOLDER) -> None:
    """Write order/changes.csv, tables/order_* and figures/order_* below `results`.

    Raises MeltpointError, naming file, row and column, for a table of `folder` that is malformed.
    """
    published, scores = read_study(folder)
    changes = recompute(published, scores)
    (results / "order").mkdir(parents=True, exist_ok=True)
    (results / "order/changes.csv").write_text(to_csv(changes))
    effect = effect_table(order_effect(scores))
    tables = {"order_scores": scores_table(scores), "order_effect": effect}
    for name, table in (tables | changes_tables(changes, scores)).items():
        save(table, results / "tables" / name)
    for name in TABLES:
        stem = results / "figures" / f"order_{name}"
        save(draw_changes(changes, scores, name), [stem.with_suffix(s) for s in (".svg", ".png")])


def to_csv(changes: pd.DataFrame) -> str:
    """The changes, published ones as printed: two decimals, empty where none was."""
    printed = {
        column: changes[column].map("{:.2f}".format, na_action="ignore")
        for column in ("change_abs", "published_change_abs", "published_change_pct")
    }
    spelled = changes["agrees"].map({True: "true", False: "false"})
    frame = changes.assign(**printed, agrees=spelled)[COLUMNS]
    return frame.to_csv(index=False, lineterminator="\n")
