"""Collections of garbage in Snakemake's process, whose objects mostly stay to its end."""

import gc


def collect_rarely() -> None:
    """Has collections pass over all objects made so far, and begin after more new ones.

    A seventh of a dry run's time goes into collections that find nothing: modules, plan and graph of
    jobs are all in use.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
