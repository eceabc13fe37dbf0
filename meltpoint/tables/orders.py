"""A table of the order effect: pairs of orders of the same steps, with difference and error."""

import pandas as pd

from meltpoint.analysis import step_orders
from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.levels import level_label
from meltpoint.analysis.pairs import windows_of
from meltpoint.analysis.quantities import quantity
from meltpoint.analysis.samples import units_of
from meltpoint.chain import Step, parse_chain
from meltpoint.errors import MeltpointError
from meltpoint.tables.entries import Notes
from meltpoint.tables.markup import Entry, Table
from meltpoint.tables.pairs import p_text
from meltpoint.tables.specs import TableSpec

HEADS = ["difference", "p", "p (Holm)", "better order", "weaker step first", "sizes"]
HYPOTHESIS = "Prune-then-Quantize or Quantize-then-Prune?, ICLR 2026, arXiv 2603.18426"


def build(frame: pd.DataFrame, spec: TableSpec) -> Table:
    """The table of the orders of `spec.source` by `spec.value`, from a tidy frame with samples.

    Raises MeltpointError if no two chains are orders of the same steps.
    """
    cells = scores_named(frame, spec.value)
    cells = cells[cells["chain"] != "dense"].assign(score_name=spec.value, printed=cells["chain"])
    compared = step_orders.compare_orders(cells)
    if compared.empty:
        raise MeltpointError(
            f"{spec.value} of {spec.source}: no two chains are orders of the same steps"
        )
    notes, scale = Notes(), quantity(cells)
    several = len(compared["model"].unique()) > 1
    rows = [
        (
            [*([row["model"]] if several else []), arrows(row["first"]), arrows(row["second"])],
            entries_of(row, spec, scale.factor, notes),
        )
        for row in compared.to_dict("records")
    ]
    labels = [*(["model"] if several else []), "first order", "second order"]
    heads = [f"difference ({scale.unit})" if scale.unit else HEADS[0], *HEADS[1:]]
    sentences = [*remarks(compared, cells), *spec.footnotes]
    return Table(spec.caption, labels, heads, rows, notes.by_letter, sentences, compared)


def arrows(chain: str) -> str:
    """A chain with arrows between its steps."""
    return " → ".join(
        step.method + (f" {level_label(str(step.level))}" if step.level else "") + settings_of(step)
        for step in parse_chain(chain)
    )


def settings_of(step: Step) -> str:
    """Settings of a step in brackets; "" for the defaults."""
    return f" ({step.settings})" if step.settings else ""


def entries_of(row: dict, spec: TableSpec, factor: float, notes: Notes) -> list[Entry]:
    """The printed numbers of a pair, and the name of the better order."""
    if row["status"] != "ok":
        return [Entry("N/A", notes=[notes.letter(row["reason"])]), *[Entry("-")] * 5]
    digits = spec.places(spec.value)
    difference, error = row["difference"] / factor, row["stderr"] / factor
    sizes = Entry("differ", notes=[notes.letter(row["sizes"])]) if row["sizes"] else Entry("equal")
    return [
        Entry(f"{difference:+.{digits}f}", f"{error:.{digits}f}"),
        Entry(p_text(row["p"])),
        Entry(p_text(row["p_holm"])),
        Entry(row["better_order"]),
        Entry(row["weaker"] or "-"),
        sizes,
    ]


def remarks(compared: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Sentences that explain the columns, and one on the hypothesis about weaker steps."""
    usable = compared[compared["status"] == "ok"]
    lower = bool((cells["better"] == "lower").all())
    better = "lower" if lower else "higher"
    sentences = [f"difference: the second order less the first; {better} is better"]
    if len(usable):
        units = units_of(cells["sample"])
        windows = windows_of(usable.astype({"windows": int}))
        sentences.append(
            f"±: paired standard error over {windows} {units}; p: paired test over {units}; "
            f"Holm: corrected for the table's {len(usable)} pairs; better order at 5 %"
        )
    return [*sentences, *hypothesis(compared, lower)]


def hypothesis(compared: pd.DataFrame, lower: bool) -> list[str]:
    """Sentences on the share of pairs in which the weaker step first is better."""
    every, told = (step_orders.weaker_first(compared, x, lower) for x in (False, True))
    if not every["pairs"]:
        return []
    text = (
        "weaker step: of the two that are swapped the one that alone moves the dense model's score by "
        f"less. The weaker step first is better in {share(every)}"
    )
    if told["pairs"]:
        text += f", and of the pairs that are told apart in {share(told)}"
    equal = step_orders.weaker_first(compared[compared["sizes"] == ""], lower=lower)
    if 0 < equal["pairs"] < every["pairs"]:
        text += f"; of the pairs that end with one size in {share(equal)}"
    return [f"{text} (Wilson, pairs taken as independent; the hypothesis of {HYPOTHESIS})"]


def share(found: dict[str, float]) -> str:
    """A share in words, with its interval."""
    return (
        f"{found['better']} of {found['pairs']} pairs ({100 * found['share']:.0f} %, 95 % interval "
        f"{100 * found['low']:.0f} to {100 * found['high']:.0f} %)"
    )
