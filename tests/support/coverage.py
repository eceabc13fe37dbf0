"""Coverage of a transition point's intervals over windows, by simulated curves."""

import numpy as np
import pytest


def check_coverage(found: list[float], errors: list[dict], truth: float) -> None:
    """Compares s0 of several sets of windows with the error and the interval that each set gives."""
    claimed = np.mean([each["s0_stderr_windows"] for each in errors])
    inside = np.mean(
        [each["s0_windows_low"] <= truth <= each["s0_windows_high"] for each in errors]
    )
    print(f"sd {np.std(found):.4f}, claimed {claimed:.4f}, covered {inside:.0%}")
    assert claimed == pytest.approx(np.std(found), rel=0.35)
    assert inside >= 0.85
