"""The same study, the same bytes."""

from tests.support.fingerprint import fingerprint

# Of each kind of result one: a chain, drawn windows and documents, both kinds of corpus.
TARGETS = [
    "results/tiny/cells/tiny/sparsegpt@0.5/prose-32.json",
    "results/tiny/cells/tiny/magnitude@0.25+wanda@0.5/fixed-32.json",
    "results/tiny/cells/tiny/wanda@0.5,calibration=notes/bits.json",
]


def test_another_run_gives_the_same_bytes(finished, fresh):
    """The fixture has run on two cores; this run has one, and other threads around it."""
    result = fresh.snakemake("--cores", "1", *TARGETS, OMP_NUM_THREADS="2")
    assert result.code == 0, result.output
    ours, theirs = fingerprint(fresh.results), fingerprint(finished.results)
    assert {name.removeprefix("results/tiny/") for name in TARGETS} <= set(ours)
    assert any(name.endswith(".safetensors") for name in ours)
    assert ours == {name: theirs[name] for name in ours}
