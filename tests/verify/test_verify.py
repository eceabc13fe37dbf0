"""Results are verified from what is kept, without torch; whatever was changed is named."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from meltpoint.tables import build as tables
from meltpoint.tables import markup
from meltpoint.tables.keys import Table
from meltpoint.transitions.fit import fit_curves
from meltpoint.transitions.prediction import predict_held_out
from meltpoint.verify.__main__ import main, verify
from meltpoint.verify.bundle import CHECKSUMS, ENVIRONMENT, write_bundle
from meltpoint.verify.outputs import frame_of
from meltpoint.verify.record import Record, Shown
from meltpoint.verify.tally import COMPARED, RECOMPUTED
from tests.support import hanging, kept_cells
from tests.support.project import ROOT

LOSSES = kept_cells.losses()
AT_HALF = ["sparsegpt@0.5", "wanda@0.5", "ria@0.5"]
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
KEYS = {
    "pairs": {"source": "x", "value": "ppl", "layout": "pairs", "level": 0.5},
    "lossless": {"source": "x", "value": "ppl", "equivalence": "0.5%"},
    "values": {"source": "x", "value": "ppl", "error": True},
}
# Imports of what reads or runs a model fail.
WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "safetensors", "tokenizers"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refuse())
from meltpoint.verify.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def curve(level: float) -> np.ndarray:
    """Window losses that rise with a level, and break at 0.6."""
    return LOSSES["dense"] + 0.1 * level**2 + 3 * max(0, level - 0.6)


def shown(chains: list[str], **keys) -> Shown:
    cells = [("demo", chain, "ppl") for chain in ["dense", *chains]]
    return Shown(cells=cells, steps=kept_cells.steps(*chains), keys=keys)


def write_study(folder: Path, chains: list[str], losses: dict, curves: bool) -> None:
    """Writes a study's results: cells, its tables of chains, and with `curves` fits of them."""
    for chain, means in losses.items():
        kept_cells.write(folder, chain, means, dense=LOSSES["dense"])
    part = shown(chains)
    record = Record(
        study={"study": "demo"},
        cells=part.cells,
        tables={} if curves else {name: shown(chains, **keys) for name, keys in KEYS.items()},
        transitions={"swept": part} if curves else {},
        predictions={"swept": shown(chains, hold_out=[0.4])} if curves else {},
        figures=[],
    )
    record.write(folder / "study.json")
    for name, table in record.tables.items():
        paths = [folder / f"cells/demo/{chain}/ppl.json" for _, chain, _ in table.cells]
        printed = tables.from_cells(paths, table.steps, Table(**table.keys))
        markup.save(printed, folder / f"tables/{name}")
    if curves:
        (folder / "transitions").mkdir()
        frame = frame_of(folder, part, samples=True)
        fit_curves(frame).to_csv(folder / "transitions/swept.csv", index=False)
        predicted = predict_held_out(frame, [0.4])
        predicted.to_csv(folder / "transitions/swept.predictions.csv", index=False)


@pytest.fixture
def results(tmp_path):
    """Cells of chains at a level, and tables of them."""
    folder = tmp_path / "results"
    write_study(folder, AT_HALF, {name: LOSSES[name] for name in ["dense", *AT_HALF]}, curves=False)
    return folder


@pytest.fixture
def swept(tmp_path):
    """Cells over levels, with a fitted curve and a prediction."""
    folder = tmp_path / "swept"
    losses = {f"magnitude@{level}": curve(level) for level in LEVELS}
    write_study(folder, list(losses), {"dense": LOSSES["dense"], **losses}, curves=True)
    return folder


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def first_difference(results: Path) -> str:
    return verify(results).differences[0]


def test_results_are_recomputed(results, capsys):
    tally = verify(results)
    assert tally.differences == []
    # Of each cell a reason, a value, an error, and a difference with its error; then two tables.
    assert tally.counts[RECOMPUTED] > 4 * 5 + 3 * 20 + 3 * 15
    assert tally.counts[COMPARED] > 4 + 3 * 15
    assert main([str(results)]) == 0
    assert "numbers recomputed from kept arrays" in capsys.readouterr().out


def test_neither_torch_nor_a_model_is_needed(results):
    command = [sys.executable, "-c", WITHOUT, str(results)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=hanging.SECONDS)
    assert run.returncode == 0, run.stderr
    assert "no difference" in run.stdout


@pytest.mark.parametrize("key", ["value", "stderr"])
def test_a_changed_cell_is_named(results, key):
    path = results / "cells/demo/ria@0.5/ppl.json"
    cell = json.loads(path.read_text())
    cell["scores"]["perplexity"][key] *= 1.001
    path.write_text(json.dumps(cell))
    part = {"value": ": perplexity is", "stderr": ": perplexity, error is"}[key]
    assert first_difference(results).startswith(f"cells/demo/ria@0.5/ppl.json{part}")


def test_a_changed_difference_is_named(results):
    path = results / "cells/demo/ria@0.5/ppl.json"
    cell = json.loads(path.read_text())
    cell["scores"]["perplexity"]["difference"]["stderr"] *= 2
    path.write_text(json.dumps(cell))
    assert "perplexity, stderr of the difference is" in first_difference(results)


@pytest.mark.parametrize("name", ["pairs", "lossless", "values"])
def test_a_changed_number_of_a_table_is_named(results, name):
    path = results / f"tables/{name}.csv"
    head, first, *rest = path.read_text().splitlines()
    fields = first.split(",")
    place = head.split(",").index("value" if name == "values" else "difference")
    fields[place] = str(float(fields[place]) + 0.01)
    path.write_text("\n".join([head, ",".join(fields), *rest]) + "\n")
    assert first_difference(results).startswith(f"tables/{name}.csv, row 1, ")


def test_a_changed_verdict_is_named(results):
    replace(results / "tables/pairs.csv", "better", "worse")
    assert first_difference(results) == (
        "tables/pairs.csv, row 1, verdict is 'worse', and 'better' recomputed"
    )


def test_a_changed_line_of_the_printed_table_is_named(results):
    replace(results / "tables/pairs.md", "not told apart", "better")
    assert first_difference(results).startswith("tables/pairs.md is ")


def test_fits_are_recomputed_and_a_changed_one_is_named(swept):
    for file in ("swept.csv", "swept.predictions.csv"):
        path = swept / "transitions" / file
        head, first, *rest = path.read_text().splitlines()
        fields = first.split(",")
        place = head.split(",").index("s0")
        fields[place] = str(float(fields[place]) + 0.01)
        path.write_text("\n".join([head, ",".join(fields), *rest]) + "\n")
    found = verify(swept).differences
    assert len(found) == 2
    assert found[0].startswith("transitions/swept.csv, row 1, s0 is")
    assert found[1].startswith("transitions/swept.predictions.csv, row 1, s0 is")


def test_rows_that_are_gone_are_named(results):
    path = results / "tables/pairs.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert "tables/pairs.csv: the shape is '2 rows" in first_difference(results)


def test_changed_arrays_are_named(results):
    path = results / "cells/demo/ria@0.5/ppl.nll.npy"
    np.save(path, np.load(path) + 0.1)
    assert first_difference(results).startswith("cells/demo/ria@0.5/ppl.json: perplexity is")


@pytest.mark.parametrize(
    "file", ["cells/demo/ria@0.5/ppl.nll.npy", "cells/demo/ria@0.5/ppl.json", "tables/pairs.csv"]
)
def test_a_missing_file_is_named(results, file, capsys):
    (results / file).unlink()
    assert main([str(results)]) == 1
    assert file in capsys.readouterr().err


def test_what_is_no_folder_of_results_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "study.json is missing: name the folder of a study's results" in capsys.readouterr().err
    (tmp_path / "x.tar.gz").write_text("no archive")
    assert main([str(tmp_path / "x.tar.gz")]) == 1
    assert "neither a folder of results nor a bundle" in capsys.readouterr().err


# --- bundles ---------------------------------------------------------------------------------------


def files_of(results: Path) -> list[Path]:
    return sorted(path for path in results.rglob("*") if path.is_file())


@pytest.fixture
def bundle(results, tmp_path):
    (results / "cells/demo/dense/ppl.hidden.npy").write_bytes(b"large")
    target = tmp_path / "bundle.tar.gz"
    write_bundle(target, results, files_of(results), [ROOT / "envs/analysis.yaml"])
    shutil.rmtree(results)
    return target


def unpack(bundle: Path, folder: Path) -> Path:
    with tarfile.open(bundle) as archive:
        archive.extractall(folder, filter="data")
    return folder / "results"


def test_a_bundle_is_verified_elsewhere(bundle, tmp_path, capsys, monkeypatch):
    moved = tmp_path / "elsewhere/b.tar.gz"
    moved.parent.mkdir()
    bundle.rename(moved)
    monkeypatch.chdir(moved.parent)
    assert main(["b.tar.gz"]) == 0
    assert "checksums as they should be" in capsys.readouterr().out


def test_a_bundle_holds_versions_and_no_hidden_states(bundle, tmp_path):
    folder = unpack(bundle, tmp_path / "unpacked")
    names = {str(path.relative_to(folder)) for path in files_of(folder)}
    assert {"study.json", "envs/analysis.yaml", ENVIRONMENT, CHECKSUMS} <= names
    assert "cells/demo/ria@0.5/ppl.nll.npy" in names
    assert not any("hidden" in name for name in names)
    assert "numpy" in json.loads((folder / ENVIRONMENT).read_text())["packages"]
    for line in (folder / CHECKSUMS).read_text().splitlines():
        checksum, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum
        names.discard(name)
    assert names == {CHECKSUMS}


def test_the_same_files_make_the_same_bundle(results, tmp_path):
    targets = [tmp_path / name for name in ("a.tar.gz", "b.tar.gz")]
    for target in targets:
        write_bundle(target, results, files_of(results), [])
    assert targets[0].read_bytes() == targets[1].read_bytes()


def test_a_changed_file_of_a_bundle_is_named(bundle, tmp_path, capsys):
    folder = unpack(bundle, tmp_path / "unpacked")
    replace(folder / "tables/pairs.md", "not told apart", "better")
    assert main([str(folder)]) == 1
    assert "tables/pairs.md was changed" in capsys.readouterr().err
    (folder / "tables/pairs.md").unlink()
    assert main([str(folder)]) == 1
    assert "tables/pairs.md is missing from the bundle" in capsys.readouterr().err


def test_a_bundle_writes_nothing_outside(tmp_path, capsys):
    target = tmp_path / "evil.tar.gz"
    with tarfile.open(target, "w:gz") as archive:
        archive.add(__file__, arcname="../outside")
    assert main([str(target)]) == 1
    assert "neither a folder of results nor a bundle" in capsys.readouterr().err
    assert not (tmp_path.parent / "outside").exists()
