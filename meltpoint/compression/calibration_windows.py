"""The calibration's tokens as a step's job reads them: given as windows, or drawn from a corpus."""

from pathlib import Path

import numpy as np
import torch

from meltpoint.checkpoints.positions import positions_of
from meltpoint.compute import Compute
from meltpoint.data.calibration import (
    draw_from_documents,
    draw_from_stream,
    take_first_documents,
)
from meltpoint.data.corpora import check_vocabulary, read_tokens
from meltpoint.data.tokenization import end_token
from meltpoint.errors import at
from meltpoint.model.configs import read_config


def read_windows(
    parent: Path, settings: dict, tokens: list[Path], compute: Compute
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Windows of a step's resolved settings, int64 [samples, length], and their lengths before padding.

    The lengths, int64 [samples], are None for a calibration that pads nothing.

    Raises MeltpointError, naming the calibration, for tokens outside the vocabulary of the checkpoint
    `parent`, for a corpus that is too short, and for windows that the model has no positions for.
    """
    key = f"calibrations.{settings['calibration']}"
    windows, lengths = at(key, _windows, settings["windows"], tokens, parent)
    vocabulary = read_config(parent, compute.torch_dtype).get_text_config().vocab_size
    at(key, check_vocabulary, windows, vocabulary, str(tokens[0]))
    if positions := positions_of(parent):
        at(key, positions.check, windows.shape[1])
    windows = torch.from_numpy(windows).long()
    return windows, None if lengths is None else torch.from_numpy(lengths)


def warnings_of(parent: Path, windows: torch.Tensor | None) -> list[str]:
    """Warnings that the calibration windows are longer than the model was made for."""
    positions = positions_of(parent)
    if windows is None or positions is None:
        return []
    return positions.warnings(windows.shape[1], "calibration windows")


def _windows(
    calibration: dict, tokens: list[Path], parent: Path
) -> tuple[np.ndarray, np.ndarray | None]:
    """The windows, int32 [samples, length], and their lengths before padding or None."""
    if "corpus" not in calibration:
        return read_tokens(tokens[0], dimensions=2), None
    size = {key: calibration[key] for key in ("samples", "length")}
    if calibration["sampling"] == "first":
        least, end = calibration["min_characters"], end_token(parent)
        return take_first_documents(*map(np.load, tokens), **size, min_characters=least, end=end)
    size["seed"] = calibration["seed"]
    if calibration["sampling"] == "stream":
        return draw_from_stream(read_tokens(tokens[0], dimensions=1), **size), None
    return draw_from_documents(np.load(tokens[0]), np.load(tokens[1]), **size), None
