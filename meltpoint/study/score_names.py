"""Names of scores in a study: `evaluation`, which means its main score, or `evaluation.score`."""

from collections.abc import Collection, Iterable, Mapping

from meltpoint import evaluations
from meltpoint.errors import MeltpointError, at
from meltpoint.evaluations.contract import EvaluationSettings, ScoreSpec
from meltpoint.text import did_you_mean


def split_name(name: str, declared: Mapping[str, EvaluationSettings]) -> tuple[str, ScoreSpec]:
    """The evaluation and the score that a name in a study stands for.

    declared: the study's evaluations. Both names may hold dots: the longest evaluation that fits is
    taken. Raises MeltpointError, with the nearest name, for an unknown evaluation or score.
    """
    evaluation = evaluation_of(name, declared)
    if evaluation is None:
        raise MeltpointError(f"undefined evaluation {name!r}{did_you_mean(name, declared)}")
    scores = scores_of(evaluation, declared[evaluation])
    score = name[len(evaluation) + 1 :] or next(iter(scores))
    if score not in scores:
        hint = did_you_mean(score, scores, prefix=f"{evaluation}.")
        raise MeltpointError(f"{evaluation!r} has no score {score!r}{hint}")
    return evaluation, scores[score]


def evaluation_of(name: str, declared: Iterable[str]) -> str | None:
    """The longest name of an evaluation with which `name` begins; None if there is none."""
    fitting = (each for each in declared if name == each or name.startswith(f"{each}."))
    return max(fitting, key=len, default=None)


def check_measured(
    key: str,
    group: str,
    name: str,
    declared: Mapping[str, EvaluationSettings],
    measured: Collection[str],
) -> None:
    """Raises MeltpointError, naming the key, if the sweep or group does not measure the score.

    measured: names of the evaluations of the group.
    """
    if evaluation_of(name, declared) not in measured:
        raise MeltpointError(
            f"{key}: {group} is not evaluated on {name!r}{did_you_mean(name, measured)}"
        )
    at(key, split_name, name, declared)


def scores_of(evaluation: str, settings: EvaluationSettings) -> dict[str, ScoreSpec]:
    """The scores of one of the study's evaluations, the main one first.

    Raises MeltpointError, naming the key, if `main` in its settings is not one of them.
    """
    return at(f"evaluations.{evaluation}", evaluations.kind_of(settings).scores, settings)
