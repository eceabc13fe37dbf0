"""Checks the results of a study: ``python -m meltpoint.verify results/demo``, or a bundle.

Recomputes from kept arrays what comes from them: values, errors, differences, fits, p values and
verdicts. Compares tables of values with the cells. Says how many numbers it has checked, and the
first that differs. Needs neither torch nor a model.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from meltpoint.errors import MeltpointError
from meltpoint.verify.bundle import check_sums, opened
from meltpoint.verify.cells import verify_cell
from meltpoint.verify.outputs import verify_predictions, verify_table, verify_transitions
from meltpoint.verify.record import Record
from meltpoint.verify.tally import COMPARED, RECOMPUTED, Tally


def verify(results: Path) -> Tally:
    """Counts and differences of all numbers of a folder of results.

    A file that is missing or cannot be read counts as a difference. Raises MeltpointError if that file
    is the study's record.
    """
    record, tally = Record.read(results), Tally()
    for cell in record.cells:
        tally.attempt(verify_cell, results, cell, tally)
    for part, check in (
        (record.tables, verify_table),
        (record.transitions, verify_transitions),
        (record.predictions, verify_predictions),
    ):
        for name, shown in part.items():
            tally.attempt(check, results, name, shown, tally)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Verifies the folder or bundle of the command line; exit status 1 if a number differs."""
    parser = argparse.ArgumentParser(prog="python -m meltpoint.verify", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("results", type=Path, help="folder of a study's results, or a bundle")
    path = parser.parse_args(arguments).results
    try:
        with opened(path) as results:
            files = check_sums(results)
            tally = verify(results)
    except MeltpointError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    sums = f"{files:,} checksums as they should be; " if files else ""
    print(
        f"{path}: {sums}{tally.counts[RECOMPUTED]:,} numbers recomputed from kept arrays, "
        f"{tally.counts[COMPARED]:,} compared with the cells"
        f"{'' if tally.differences else ': no difference'}"
    )
    if tally.differences:
        count = len(tally.differences)
        are = "differences" if count > 1 else "difference"
        print(f"Error: {count:,} {are}. The first: {tally.differences[0]}", file=sys.stderr)
    return int(bool(tally.differences))


if __name__ == "__main__":
    sys.exit(main())
