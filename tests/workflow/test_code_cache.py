"""What parsing finds in modules is remembered by their source, and by nothing else."""

import pytest

from meltpoint.workflow import staleness
from meltpoint.workflow.code_cache import CodeCache

MODULE = "meltpoint.checkpoints.index"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Hash of a module as a new run of Snakemake finds it, by default in one folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()

    def code_hash():
        for function in (staleness.code_hash, staleness._found_in, staleness._cache):
            function.cache_clear()
        return staleness.code_hash(MODULE)

    yield code_hash
    for function in (staleness.code_hash, staleness._found_in, staleness._cache):
        function.cache_clear()


def test_an_unchanged_module_is_parsed_once(run, monkeypatch):
    first = run()
    monkeypatch.setattr(staleness, "_code_in", lambda source: pytest.fail("parsed again"))
    assert run() == first


def test_a_changed_module_is_parsed_again(run, monkeypatch):
    first, source_of = run(), staleness.source_of
    monkeypatch.setattr(staleness, "source_of", lambda name: source_of(name) + "\nX = 1")
    assert run() != first
    monkeypatch.setattr(staleness, "source_of", source_of)
    assert run() == first


@pytest.mark.parametrize("content", ["", "[]", '{"finder": "other", "entries": {}}'])
def test_a_file_that_is_broken_or_of_other_code_is_passed_over(tmp_path, content):
    path = tmp_path / "cache.json"
    path.write_text(content)
    cache = CodeCache(path, "finder")
    assert cache.get("a", "source") is None
    cache.put("a", "source", ["b"], "hash")
    cache.save()
    again = CodeCache(path, "finder")
    assert again.get("a", "source") == (["b"], "hash")
    assert again.get("a", "another") is None
    assert CodeCache(path, "other finder").get("a", "source") is None


def test_nothing_is_written_where_no_run_was(tmp_path):
    cache = CodeCache(tmp_path / ".snakemake/cache.json", "finder")
    cache.put("a", "source", [], "hash")
    cache.save()
    assert list(tmp_path.iterdir()) == []
