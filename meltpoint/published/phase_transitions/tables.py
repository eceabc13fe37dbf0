"""Tables 1 to 10 of model phase transitions, rebuilt from their cells."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from meltpoint.analysis.frame import tidy
from meltpoint.analysis.levels import level_label
from meltpoint.data.published.frames import read
from meltpoint.published.phase_transitions import frames, grid
from meltpoint.published.phase_transitions.captions import REMARKS, TABLES
from meltpoint.published.phase_transitions.footnotes import DOUBTS, SIZE
from meltpoint.study.outputs import Table as Section
from meltpoint.tables import build as tables
from meltpoint.tables.markup import Table
from meltpoint.tables.markup import save

DATASETS = {"wikitext2": "WikiText2", "ptb": "PTB"}
METRICS = {
    "ppl": ("perplexity", "low", 4),
    "size_gb": ("size (GB)", "low", 2),
    "tokens_per_s": ("tokens/s", "high", 1),
    "arc_e": ("ARC-e", "high", 2),
    "arc_c": ("ARC-c", "high", 2),
    "mmlu": ("MMLU", "high", 3),
}


def by_level(name: str, cells: pd.DataFrame) -> Table:
    """Methods by level: Tables 1 to 4."""
    columns = cells["level"].map(level_label)
    doubts = DOUBTS.get(name, {})
    keys = zip(cells["method"], columns, strict=True)
    cells = cells.assign(note=[doubts.get(key, "") for key in keys])
    cells["digits"] = cells.groupby("method")["value"].transform(grid.digits)
    said = {"caption": TABLES[name], "footnotes": REMARKS[name]}
    spec = Section(of="published", value=frames.EVALUATION, digits=4, achieved=False, **said)
    table = tables.build(cells, spec)
    return grid.annotate(table, cells.assign(level=columns), "level", doubts)


def quantization() -> pd.DataFrame:
    """Table 4 as a tidy frame."""
    table = read("mpt_quant_ppl")
    level = table["bits"].map("{}bit".format)
    columns = {"kind": "quantization", "model": frames.MODEL, "evaluation": frames.EVALUATION}
    return tidy(table["method"], level, table["ppl"], **columns)


def gguf(name: str, source: str) -> Table:
    """Models and schemes by what was measured of them: Tables 5 and 6."""
    table = read(source)
    measured = {column: says for column, says in METRICS.items() if column in table}
    parts = []
    for column, (head, better, places) in measured.items():
        part = table[["model", "scheme"]].assign(head=head, value=table[column], better=better)
        error = table["ppl_stderr"] if column == "ppl" else float("nan")
        digits = 2 if column == "ppl" and source == "mpt_gguf_families" else places
        parts.append(part.assign(error=error, digits=digits)[table[column].notna()])
    cells = pd.concat(parts)
    heads = [head for head, _, _ in measured.values()]
    return grid_of(name, cells, ["model", "scheme"], heads, "metric", across=False)


def lowrank(name: str) -> Table:
    """Ratios by method and data set: Table 7."""
    cells = frames.lowrank().assign(better="low", error=float("nan"), digits=2)
    cells["head"] = cells["method"] + ", " + cells["evaluation"].map(DATASETS)
    cells["ratio"] = cells["level"].map(two_digits)
    heads = list(dict.fromkeys(cells["head"]))
    # Perplexities on one data set do not compete with those on another.
    cells["better"] = cells["better"].where(cells["evaluation"] == "wikitext2", "")
    return grid_of(name, cells.sort_values("ratio", kind="stable"), ["ratio"], heads, "curve")


def asvd_rtn(name: str) -> Table:
    """Ratios by quantization, a block for each data set: Table 8."""
    cells = combined(8, 3).assign(dataset=lambda c: c["evaluation"].map(DATASETS))
    return grid_of(name, cells, ["dataset", "ratio"], heads_of(cells))


def with_sizes(name: str, number: int) -> Table:
    """Ratios by quantization, perplexity and then size: Tables 9 and 10."""
    cells = combined(number, 4).assign(quantity="perplexity")
    sizes = cells.assign(quantity=SIZE, value=cells["size"], better="", digits=2)
    return grid_of(name, pd.concat([cells, sizes]), ["quantity", "ratio"], heads_of(cells))


def combined(number: int, digits: int) -> pd.DataFrame:
    cells = frames.combined(number).assign(better="low", error=float("nan"), digits=digits)
    return cells.assign(head=cells["settings"], ratio=cells["level"].map(two_digits))


def heads_of(cells: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(cells["head"]))


def two_digits(level: str) -> str:
    return f"{float(level):.2f}"


def grid_of(
    name: str,
    cells: pd.DataFrame,
    labels: list[str],
    heads: list[str],
    column: str = "quantization",
    across: bool = True,
) -> Table:
    layout = grid.Grid(labels, heads, column, across, TABLES[name], REMARKS[name])
    return grid.build(cells, layout, DOUBTS.get(name, {}))


BUILDERS: dict[str, Callable[[str], Table]] = {
    "table01_structured": lambda name: by_level(name, frames.by_level(1)),
    "table02_unstructured": lambda name: by_level(name, frames.by_level(2)),
    "table03_unstructured_ptb": lambda name: by_level(name, frames.by_level(3)),
    "table04_quantization": lambda name: by_level(name, quantization()),
    "table05_gguf": lambda name: gguf(name, "mpt_gguf"),
    "table06_gguf_families": lambda name: gguf(name, "mpt_gguf_families"),
    "table07_lowrank": lowrank,
    "table08_asvd_rtn": asvd_rtn,
    "table09_sparsegpt_gptq": lambda name: with_sizes(name, 9),
    "table10_wanda_gguf": lambda name: with_sizes(name, 10),
}


def save_all(folder: Path) -> None:
    """Each table as {folder}/{name}.csv, .md and .tex."""
    for name, builder in BUILDERS.items():
        save(builder(name), folder / name)
