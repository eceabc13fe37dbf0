"""Names of the scores that are those of tasks, without the statistics of their answers.

Planning reads them, and is not to import those.
"""

from meltpoint import evaluations
from meltpoint.evaluations.contract import EvaluationSettings


def is_task(score: str) -> bool:
    """True for a score of a task, a group or their mean: the parts of one follow a dot."""
    return "." not in score


def tasks_of(settings: EvaluationSettings) -> list[str]:
    """Names of an evaluation's scores that are those of tasks, the main one first."""
    return [name for name in evaluations.kind_of(settings).scores(settings) if is_task(name)]
