"""`keep_checkpoints: prefixes`: the chains on which nothing builds give up their checkpoints."""

import shutil

from tests.support.fingerprint import fingerprint

CHAIN = "cells/tiny/magnitude@0.25+wanda@0.5"


def keep_prefixes(study: dict) -> None:
    study["keep_checkpoints"] = "prefixes"


def checkpoints(project) -> set[str]:
    return {path.parent.name for path in (project.results / "cells/tiny").glob("*/checkpoint")}


def test_keeping_fewer_checkpoints_reruns_nothing(project):
    project.edit_study(keep_prefixes)
    assert project.stale() == set()


def test_leaves_are_evicted_and_prefixes_kept(project):
    """The chains of two groups are made anew; of their checkpoints one is a prefix."""

    def only_chains(study):
        del study["sweeps"], study["tables"]["pruning"], study["figures"]
        keep_prefixes(study)

    before = fingerprint(project.results)
    shutil.rmtree(project.results / "cells/tiny")
    project.edit_study(only_chains)
    project.run()
    assert checkpoints(project) == {"magnitude@0.25"}
    after = fingerprint(project.results)
    assert after == {name: before[name] for name in after}
    assert len(list((project.results / "cells/tiny").glob("*/*.json"))) == 5
    assert project.stale() == set()
    assert "Nothing to be done" in project.snakemake("-n").output

    # The price: another evaluation makes the checkpoint again, and all that is measured on it.
    project.edit_study(lambda study: study["chains"]["order"]["evaluations"].append("bits"))
    names = ("checkpoint", "fixed-32.json", "bits.json")
    assert project.stale() == {f"{CHAIN}/{name}" for name in names}
