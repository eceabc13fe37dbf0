"""What the page of the published results shows."""

from dataclasses import asdict

from meltpoint.published.operation_order import captions as operation_order
from meltpoint.published.parameter_search import captions as parameter_search
from meltpoint.published.phase_transitions import captions as phase_transitions
from meltpoint.report.entries import Item

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
    return [*phase_transitions.items(), *operation_order.items(), *parameter_search.items()]


def page() -> dict:
    """The page of the published results, as a job spec holds it."""
    return {"title": TITLE, "lead": LEAD, "items": [asdict(item) for item in items()]}
