"""Runs a study by the workflow of this checkout, in a folder of its own."""

import subprocess
import sys
from pathlib import Path

from tests.support.project import ROOT


def run_study(folder: Path, study: str) -> None:
    """Writes a study's YAML into the folder and runs it to its end, on two cores."""
    (folder / "study.yaml").write_text(study)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    profile = ["--workflow-profile", str(ROOT / "profiles/default")]
    options = ["--cores", "2", "--configfile", "study.yaml", "--directory", str(folder)]
    subprocess.run([*command, *profile, *options, "--quiet", "all"], check=True, cwd=folder)
