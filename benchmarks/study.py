"""Where does the wall time of a finished study go? Per rule: jobs, imports, load, compute.

    python -m benchmarks.study [results/demo]

Reads the benchmark files and logs that the rules have left behind. A job's log says how long it
imported and read or wrote weights; what is left is computing.
"""

import json
import sys
from pathlib import Path

import pandas as pd


def jobs(results: Path) -> pd.DataFrame:
    """One row a job: its rule's folder, wall seconds, and the phases from its log."""
    rows = []
    for file in sorted((results / "benchmarks").rglob("*.tsv")):
        path = file.relative_to(results / "benchmarks")
        seconds = pd.read_csv(file, sep="\t")["s"].iloc[0]
        log = results / "logs" / path.with_suffix(".log")
        rows.append({"rule": path.parts[0], "wall": seconds, **_phases(log)})
    return pd.DataFrame(rows)


def _phases(log: Path) -> dict[str, float]:
    lines = [line for line in log.read_text().splitlines() if line.startswith("seconds ")]
    return json.loads(lines[-1].removeprefix("seconds ")) if lines else {}


def main(results: Path = Path("results/demo")) -> None:
    table = jobs(results).fillna(0.0)
    table["jobs"] = 1
    total = table.groupby("rule").sum().sort_values("wall", ascending=False)
    total.loc["all"] = total.sum()
    total["jobs"] = total["jobs"].astype(int)
    print(total.round(1).to_string())
    print(
        "\nwall: what Snakemake measured of each job; the rest: as the jobs logged it, in seconds"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
