"""Collections of garbage in Snakemake's process, whose objects mostly stay to its end."""

import gc


def collect_rarely() -> None:
    """Has collections pass over all objects made so far, and begin after more new ones.

    They took a seventh of a dry run's time, though modules, plan and graph of jobs stay in use.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
