"""Base class of everything that a study declares: keys with types, defaults and descriptions."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


# A score as a study names it: `evaluation`, which means its main one, or `evaluation.score`.
ScoreName = Annotated[str, StringConstraints(min_length=1)]


class Section(BaseModel):
    """A part of the study. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
