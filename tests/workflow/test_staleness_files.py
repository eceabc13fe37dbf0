"""Which results a change of files makes again, and which not."""

import json
import shutil

import numpy as np
import pytest

from meltpoint.checkpoints.index import WANTED
from meltpoint.hashing import HashCache, hash_file
from tests.support import tiny_study
from tests.support.project import SHOWN, named


@pytest.mark.parametrize(
    "file",
    [
        "Snakefile",
        "rules/compress.smk",
        "scripts/compress.py",
        "scripts/evaluate.py",
        "meltpoint/methods/wanda.py",
        "envs/torch.yaml",
        "studies/tiny.yaml",
        "studies/prose.txt",
        "studies/tokens.npy",
        "studies/windows.npy",
        "studies/model/model.safetensors",
        "results/tiny/tokens/tiny/prose.npy",
    ],
)
def test_touched_file_reruns_nothing(project, file):
    project.touch(file)
    assert project.stale() == set()


def test_text_of_a_corpus_reruns_what_reads_it(project, everything):
    """Its tokens, the checkpoints calibrated on it, the perplexities on it."""
    project.replace("studies/prose.txt", tiny_study.sentences()[3], "a line of its own")
    calibrated = ("wanda@0.5/", "wanda@2of4/", "sparsegpt@")
    expected = named(everything, "tokens/tiny/prose", *calibrated, "prose-32.json", *SHOWN)
    assert named(everything, "magnitude@0.5/checkpoint", "fixed", "notes") - expected
    assert project.stale() == expected


def test_text_of_documents_reruns_what_is_calibrated_on_them(project, everything):
    tiny_study.write_notes(project.folder / "studies/notes.jsonl", tiny_study.sentences()[1:])
    assert project.stale() == named(everything, "notes", "tables/calibrations")


def test_tokens_of_a_corpus_rerun_what_reads_them(project, everything):
    change_one(project.folder / "studies/tokens.npy")
    assert project.stale() == named(everything, "tokens/tiny/fixed", "fixed-32.json")


def test_tokens_among_the_results_rerun_what_reads_them(project, everything):
    change_one(project.results / "tokens/tiny/fixed.npy")
    assert project.stale() == named(everything, "fixed-32.json")


def test_calibration_windows_rerun_what_is_calibrated_on_them(project, everything):
    change_one(project.folder / "studies/windows.npy")
    assert project.stale() == named(everything, "calibration=given", "tables/calibrations")


def change_one(file) -> None:
    """Changes one token in a file and leaves its size."""
    array = np.load(file)
    array.flat[0] = (array.flat[0] + 1) % tiny_study.VOCABULARY
    np.save(file, array)


def test_only_files_that_are_linked_count_in_a_local_model(tmp_path):
    """A readme that `git pull` has changed, or what a training has left, makes nothing stale."""
    (tmp_path / "config.json").write_text("{}")
    before = HashCache(tmp_path / ".cache").folder(tmp_path, WANTED)
    for name in ("README.md", "pytorch_model.bin", "training_args.bin"):
        (tmp_path / name).write_text("x")
    assert HashCache(tmp_path / ".cache").folder(tmp_path, WANTED) == before
    (tmp_path / "tokenizer.model").write_text("x")
    assert HashCache(tmp_path / ".cache").folder(tmp_path, WANTED) != before


@pytest.mark.parametrize("cache", ["[]", "null", '{"config.json": 3}', '{"a": [1, 2, 3]}', "{"])
def test_a_broken_file_of_known_hashes_is_made_anew(cache, tmp_path):
    (tmp_path / "hashes.json").write_text(cache)
    (tmp_path / "config.json").write_text("{}")
    known = HashCache(tmp_path / "hashes.json").file(tmp_path / "config.json")
    assert known == hash_file(tmp_path / "config.json")


def test_new_weights_in_a_local_model_rerun_all_of_that_model(project, everything):
    tiny_study.write_model(project.folder / "studies/model", seed=7)
    assert project.stale() == everything - named(everything, "models/other", "cells/other")


def test_moved_model_makes_nothing_stale_and_is_read_where_it_is(project):
    shutil.move(project.folder / "studies/model", project.folder / "studies/elsewhere")
    project.edit_study(lambda study: study["models"]["tiny"].update(path="elsewhere"))
    assert project.stale() == set()
    (project.results / "cells/tiny/dense/prose-32.json").unlink()
    project.run()
    assert project.stale() == set()


def test_new_weights_in_a_moved_model_rerun_all_of_that_model(project, everything):
    """The links follow to the other content, and the content's hash says so."""
    tiny_study.write_model(project.folder / "studies/elsewhere", seed=7)
    project.edit_study(lambda study: study["models"]["tiny"].update(path="elsewhere"))
    assert project.stale() == everything - named(everything, "models/other", "cells/other")


def test_moved_corpora_and_windows_make_nothing_stale(project):
    moves = {"prose.txt": "a/prose.txt", "tokens.npy": "b.npy", "windows.npy": "c.npy"}
    (project.folder / "studies/a").mkdir()
    for old, new in moves.items():
        (project.folder / "studies" / old).rename(project.folder / "studies" / new)

    def move(study):
        study["corpora"]["prose"]["path"] = moves["prose.txt"]
        study["corpora"]["fixed"]["tokens"] = moves["tokens.npy"]
        study["calibrations"]["given"]["windows"] = moves["windows.npy"]

    project.edit_study(move)
    assert project.stale() == set()


def test_tokenizer_of_a_local_model_reruns_all_of_that_model(project, everything):
    file = project.folder / "studies/other/tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=3))
    assert project.stale() == named(everything, "models/other", "cells/other")


def test_lost_cell_is_all_that_is_made_again(project, everything):
    (project.results / "cells/tiny/wanda@0.5/prose-32.json").unlink()
    assert project.stale() == named(everything, "cells/tiny/wanda@0.5/prose-32", *SHOWN)


def test_deleted_checkpoint_is_not_missed(project):
    """Its cells are there; it is made again when something new is to be measured on it."""
    shutil.rmtree(project.results / "cells/tiny/wanda@0.5/checkpoint")
    assert project.stale() == set()


def test_checkpoint_that_failed_is_not_forgotten(project, everything):
    """A run has begun to make it anew and failed: Snakemake has deleted it, and its memory of it."""
    checkpoint = "results/tiny/cells/tiny/sparsegpt@0.5/checkpoint"
    shutil.rmtree(project.folder / checkpoint)
    project.append("meltpoint/methods/sparsegpt.py", "\nCHANGED = True\n")
    assert project.snakemake("--cleanup-metadata", checkpoint).code == 0
    assert project.stale() == named(everything, "sparsegpt@", *SHOWN)
