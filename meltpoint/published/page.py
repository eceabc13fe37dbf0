"""The items of the page of published results."""

from dataclasses import asdict

from meltpoint.published.specs import study
from meltpoint.report.entries import Item

STUDIES = ("phase_transitions", "operation_order", "parameter_search")
TITLE = "Meltpoint: the published results, rebuilt"
LEAD = (
    "Tables and figures of three published studies of compressed language models, made again from "
    "their numbers: where compression turns from gradual loss to collapse, in what order operations "
    "are best done, and which settings a structured pruning method wants. What the numbers do not "
    "bear out is marked where it stands. A click on a column's head sorts; points of figures say "
    "their values."
)


def items() -> list[Item]:
    """Every item, in the order of the page."""
    return [item for name in STUDIES for item in study(name).items()]


def page() -> dict:
    """The page of the published results, in the form of a job spec."""
    return {"title": TITLE, "lead": LEAD, "items": [asdict(item) for item in items()]}
