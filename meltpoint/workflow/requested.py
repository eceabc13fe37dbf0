"""Results that are asked for by their paths, which may be of chains that no group of the study has."""

import sys

from meltpoint.chain import DENSE
from meltpoint.errors import MeltpointError
from meltpoint.study.resolved import Study


def end_at_unknown(study: Study, model: str, chain: str) -> None:
    """Ends the run, with one sentence, for a chain that `check_requested` refuses.

    Input functions call this. Snakemake prints a page for any other exception in them.
    """
    try:
        check_requested(study, model, chain)
    except MeltpointError as error:
        sys.exit(f"Error: {error}")


def check_requested(study: Study, model: str, chain: str) -> None:
    """Raises MeltpointError for a chain that cannot be made, or that is not spelled as in paths.

    Under another spelling each of its results would be made a second time.
    """
    if chain == DENSE or (model, chain) in study.known_checkpoints:
        return
    _, spelling = study.checkpoint_named(f"{model}/{chain}")
    if spelling != chain:
        raise MeltpointError(f"{model}/{chain}: in paths the chain is spelled {spelling}")
