"""The corpora on which a step is trained, and the form in which they are read."""

from typing import TYPE_CHECKING

from meltpoint.errors import MeltpointError
from meltpoint.methods.settings import MethodSettings
from meltpoint.study.sections import GivenCalibration
from meltpoint.text import did_you_mean

if TYPE_CHECKING:
    from meltpoint.study.config import StudyConfig

# The calibration whose corpus is learned if a step names no corpus.
DEFAULT = "default"
# Names of a corpus's files of tokens, by the form in which they are read.
FILES = {
    "stream": (".npy",),
    "instructions": (
        ".instructions.npy",
        ".instructions.offsets.npy",
        ".instructions.responses.npy",
    ),
}


def training_texts(config: "StudyConfig", settings: MethodSettings) -> dict[str, dict[str, str]]:
    """Corpus and form of each text that a step is trained on, by its use.

    The form is "stream" or "instructions". A calibration that is given as windows has `file` instead.
    """
    return {use: _text(config, name) for use, name in settings.training_data.items()}


def _text(config: "StudyConfig", name: str | None) -> dict[str, str]:
    if name is None:
        calibration = config.calibrations[DEFAULT]
        if isinstance(calibration, GivenCalibration):
            return {"file": str(calibration.windows)}
        name = calibration.corpus
    instructions = getattr(config.corpora[name], "instructions", None)
    return {"corpus": name, "form": "instructions" if instructions else "stream"}


def check_training_texts(key: str, config: "StudyConfig", settings: MethodSettings) -> None:
    """Raises MeltpointError, naming the key, for a training corpus that the study lacks."""
    for use, name in settings.training_data.items():
        if name is None and DEFAULT not in config.calibrations:
            raise MeltpointError(
                f"{key}: name a corpus with {use}=NAME: the study has no calibration {DEFAULT!r}, "
                "whose text would be learned"
            )
        if name is not None and name not in config.corpora:
            raise MeltpointError(
                f"{key}: {use} names the undefined corpus {name!r}{did_you_mean(name, config.corpora)}"
            )


def token_files(text: dict[str, str], folder: str) -> list[str]:
    """Paths of a text's files of tokens in a folder of tokens; none for given windows."""
    if "file" in text:
        return []
    return [f"{folder}/{text['corpus']}{ending}" for ending in FILES[text["form"]]]
