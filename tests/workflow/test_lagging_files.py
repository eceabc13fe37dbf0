"""Results on a file system that shows files late, as a network's may."""

import pytest

# Jobs that are scripts see it; a folder's own files are there at once.
LATE = """
import os, subprocess, sys

replace = os.replace

def late(source, target, **options):
    if ".partial" in str(target):
        return replace(source, target, **options)
    folder, name = os.path.split(target)
    hidden = os.path.join(folder, f".late.{name}")
    replace(source, hidden)
    command = ["sh", "-c", 'sleep 1; mv "$0" "$1"', hidden, str(target)]
    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(os.environ["LATE_LOG"], "a") as log:
        print(target, file=log)

if any(".snakemake/scripts" in argument for argument in sys.orig_argv):
    os.replace = late
"""
CELL = "results/tiny/cells/other/magnitude@0.5/bits.json"


@pytest.mark.slow
def test_outputs_that_are_seen_late_are_waited_for(fresh, tmp_path):
    (tmp_path / "late").mkdir()
    (tmp_path / "late/sitecustomize.py").write_text(LATE)
    log = tmp_path / "log"
    environment = {"PYTHONPATH": str(tmp_path / "late"), "LATE_LOG": str(log)}
    result = fresh.snakemake("--cores", "1", "--latency-wait", "20", CELL, **environment)
    assert result.code == 0, result.output
    late = [line.removeprefix(f"{fresh.folder}/") for line in log.read_text().splitlines()]
    assert {CELL, CELL.replace("bits.json", "checkpoint"), "results/models/other"} <= set(late)
    again = fresh.snakemake("-n", CELL)
    assert "Nothing to be done" in again.output
