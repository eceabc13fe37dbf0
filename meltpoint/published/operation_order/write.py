"""All files of the order study."""

from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.analysis.operation_order import order_effect
from meltpoint.data.published import FOLDER
from meltpoint.figures.style import save as save_figure
from meltpoint.published.operation_order.discrepancies import KEYS, check_changes
from meltpoint.published.operation_order.figures import draw_changes
from meltpoint.published.operation_order.read import OPERATIONS, read_study
from meltpoint.published.operation_order.tables import changes_table, effect_table, scores_table
from meltpoint.published.specs import study as spec_of
from meltpoint.tables.markup import save

NUMBERS = ["change_abs", "change_pct", "published_change_abs", "published_change_pct"]
COLUMNS = [*KEYS, *NUMBERS, "agrees", "agreement", "note"]


def write(results: Path, folder: Path = FOLDER) -> None:
    """Writes order/changes.csv, tables/order_* and figures/order_* below `results`.

    Raises MeltpointError, naming file, row and column, for a table of `folder` that is malformed.
    """
    spec, study = spec_of("operation_order"), read_study(folder)
    changes, effect = check_changes(study), order_effect(study.scores, OPERATIONS)
    effect["difference"] = np.round(effect["difference"], 2)
    (results / "order").mkdir(parents=True, exist_ok=True)
    (results / "order/changes.csv").write_text(to_csv(changes))
    tables = {"order_scores": scores_table(spec, study), "order_effect": effect_table(spec, effect)}
    for name in dict.fromkeys(changes["table"]):
        tables[f"order_{name}"] = changes_table(spec, name, study, changes)
        stem = results / f"figures/order_{name}"
        figure = draw_changes(spec, study, changes, name)
        save_figure(figure, [stem.with_suffix(suffix) for suffix in (".svg", ".png")])
    for name, table in tables.items():
        save(table, results / "tables" / name)


def to_csv(changes: pd.DataFrame) -> str:
    """The changes, published ones as printed: two decimals, empty where none was."""
    printed = {
        column: changes[column].map("{:.2f}".format, na_action="ignore")
        for column in ("change_abs", "published_change_abs", "published_change_pct")
    }
    agrees = changes["agrees"].map({True: "true", False: "false"})
    frame = changes.assign(**printed, agrees=agrees)[COLUMNS]
    return frame.to_csv(index=False, lineterminator="\n")
