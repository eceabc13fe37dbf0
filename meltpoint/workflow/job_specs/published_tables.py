"""The published tables that a study's tables and figures show too."""

from meltpoint.analysis.output_keys import Output
from meltpoint.data import published
from meltpoint.hashing import hash_file


def hash_beside(part: Output) -> str | None:
    """Hash of the published table beside a table or figure; None without one."""
    name = getattr(part, "published", None)
    return None if name is None else hash_file(published.FOLDER / f"{name}.csv")
