"""Runs Snakemake in processes that have imported it already: its import takes more than a second.

Each is a child of one process that knows nothing of Meltpoint, so it imports the copy of the folder
that it runs in.
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

from tests.support import hanging

ROOT = Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["snakemake.cli", "pydantic"])


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `python -m snakemake` in a folder."""
    with tempfile.TemporaryDirectory() as place:
        files = [os.path.join(place, name) for name in ("stdout", "stderr")]
        process = CONTEXT.Process(target=_main, args=(arguments, folder, environment, files))
        process.start()
        process.join(hanging.SECONDS)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"snakemake {' '.join(arguments)} hangs")
        return process.exitcode, *(Path(file).read_text() for file in files)


def _main(
    arguments: list[str], folder: Path, environment: dict[str, str], files: list[str]
) -> None:
    """Makes this process what the command's would be, and runs Snakemake."""
    from snakemake import cli

    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["snakemake", *arguments]
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", str(ROOT)))]
    cli.main()
