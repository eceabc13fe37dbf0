"""Draws of a calibration: chains that differ in one setting, by default in their seed."""

import re

# The setting whose values are draws of the calibration.
SEED = "seed"


def draw_of(settings: str, key: str = SEED) -> str:
    """Value of a setting in the text of a chain's settings; values of several steps are joined."""
    return "+".join(re.findall(rf"(?:^|[,+]){re.escape(key)}=([^,+]*)", settings))
