"""A tiny study, run once to its end; every test changes a copy of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from meltpoint.study.config import load
from meltpoint.study.resolved import Study
from tests.support.project import Project, copy_sources
from tests.support.shared import made_once


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    """Marks the tests that run Snakemake; those that do without it are quick."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and {"finished", "fresh"} & set(item.fixturenames):
            item.add_marker(pytest.mark.workflow)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory) -> Project:
    """The project and the study, before any run."""
    tiny = pytest.importorskip("tests.support.tiny_study", reason="the tiny model needs torch")
    folder = tmp_path_factory.mktemp("workflow") / "untouched"
    copy_sources(folder)
    tiny.write(folder / "studies")
    return Project(folder)


@pytest.fixture(scope="session")
def finished(untouched, tmp_path_factory) -> Project:
    """The study run to its end on two cores, once for all workers; not to be changed."""
    shared = made_once(tmp_path_factory, "finished", lambda folder: untouched.copy(folder).run())
    return Project(shared).copy(tmp_path_factory.mktemp("finished") / "project")


@pytest.fixture(scope="session")
def everything(finished) -> set[str]:
    """The outputs of all of the finished study's jobs."""
    return finished.outputs()


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished study, to be changed."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def fresh(untouched, tmp_path) -> Project:
    """A copy of the study as it is before any run, to be changed."""
    return untouched.copy(tmp_path / "fresh")


@pytest.fixture
def resolved(tmp_path, monkeypatch) -> Callable[..., Study]:
    """Reads the tiny study with changes of its sections; its folder is the working directory."""
    tiny = pytest.importorskip("tests.support.tiny_study", reason="the tiny model needs torch")
    tiny.write(tmp_path / "studies")
    monkeypatch.chdir(tmp_path)

    def resolve(**changes: dict) -> Study:
        raw = tiny.study()
        for section, change in changes.items():
            raw[section].update(change)
        return Study(load(raw, "tiny.yaml"), tmp_path / "studies")

    return resolve
