"""Export of a checkpoint as an ordinary Hugging Face folder that gives the same logits.

    python -m meltpoint.export CHECKPOINT TARGET

Cut heads and channels become zeros, factors are multiplied out, packed weights are decoded. Added
biases need an architecture that has them. The folder can be read by transformers without Meltpoint.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.export.folders import check_folders


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports the checkpoint that the command line names; returns an exit status.

    A failure is printed as one sentence.
    """
    parser = argparse.ArgumentParser(prog="python -m meltpoint.export", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint of Meltpoint")
    parser.add_argument("target", type=Path, help="folder to write, which must not exist")
    options = parser.parse_args(arguments)
    try:
        check_folders(options.checkpoint, options.target)
        write(options.checkpoint, options.target)
    except MeltpointError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except NotApplicable as reason:
        message = f"{options.checkpoint}: no ordinary folder gives its logits: {reason}"
        print(f"Error: {message}", file=sys.stderr)
        return 1
    print(f"{options.target}: written")
    return 0


def write(checkpoint: Path, target: Path) -> None:
    """Imports torch without the warnings of libraries, which do not help a reader, and exports."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            from meltpoint.export.ordinary_folder import export

            export(checkpoint, target)
        finally:
            logging.disable(disabled)


if __name__ == "__main__":
    sys.exit(main())
