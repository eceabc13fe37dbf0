"""How a study names scores: `evaluation` or `evaluation.score`, and what is refused when it is read."""

import copy

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.study import config, old_evaluations
from meltpoint.study.score_names import split_name

RAW = {
    "study": "s",
    "models": {"m": {"train": {}}},
    "corpora": {"t": {"builtin": "python-docs", "split": "test"}},
    "evaluations": {
        "docs-256": {"perplexity": "t", "window": 256},
        "size": {"size": "weights"},
        "size.bytes": {"size": "weights", "main": "nonzeros"},
        "speed": {"speed": "generation", "main": "load_seconds"},
    },
    "sweeps": {
        "q": {
            **{"models": ["m"], "methods": ["rtn"], "levels": ["4bit"]},
            "evaluations": ["docs-256", "size"],
        }
    },
}


def study(**changes):
    return config.load({**copy.deepcopy(RAW), **changes}, "s.yaml")


@pytest.mark.parametrize(
    ("name", "evaluation", "score"),
    [
        ("docs-256", "docs-256", "perplexity"),
        ("docs-256.perplexity", "docs-256", "perplexity"),
        ("docs-256.bits_per_byte", "docs-256", "bits_per_byte"),
        ("size", "size", "bits_per_weight"),
        ("size.parameters", "size", "parameters"),
        ("speed", "speed", "load_seconds"),
        # The longest evaluation that fits.
        ("size.bytes", "size.bytes", "nonzeros"),
        ("size.bytes.bytes", "size.bytes", "bytes"),
    ],
)
def test_a_name_means_an_evaluation_and_a_score(name, evaluation, score):
    found, spec = split_name(name, study().evaluations)
    assert (found, spec.name) == (evaluation, score)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            {"tables": {"t": {"source": "q", "value": "docs-256.perplexty"}}},
            "s.yaml: tables.t.value: 'docs-256' has no score 'perplexty': did you mean "
            "'docs-256.perplexity'?",
        ),
        (
            {"tables": {"t": {"source": "q", "value": "speed.load_seconds"}}},
            "s.yaml: tables.t.value: q is not evaluated on 'speed.load_seconds'",
        ),
        (
            {
                "tables": {
                    "t": {"source": "q", "columns": "evaluation", "value": ["docs-256", "bits"]}
                }
            },
            "s.yaml: tables.t.value: q is not evaluated on 'bits'",
        ),
        (
            {
                "figures": {
                    "f": {"source": "q", "value": "docs-256", "kind": "tradeoff", "x": "size.bits"}
                }
            },
            "s.yaml: figures.f.x: 'size' has no score 'bits': did you mean 'size.bytes'?",
        ),
        (
            {"evaluations": {**RAW["evaluations"], "size": {"size": "weights", "main": "byte"}}},
            "s.yaml: evaluations.size: main: size has no score 'byte': did you mean 'bytes'?",
        ),
        (
            {"sweeps": {"q": {**RAW["sweeps"]["q"], "evaluations": ["docs-256.chrf"]}}},
            "s.yaml: sweeps.q.evaluations: 'docs-256' has no score 'chrf'",
        ),
        (
            {"sweeps": {"q": {**RAW["sweeps"]["q"], "evaluations": ["docs-25"]}}},
            "s.yaml: sweeps.q.evaluations: undefined evaluation 'docs-25': did you mean 'docs-256'",
        ),
        (
            {"evaluations": {"e": {"accuracy": "t"}}},
            "s.yaml: evaluations.e: needs one of the keys generation or lawbench or mmlu_",
        ),
        (
            {"evaluations": {"e": {"perplexity": "u", "window": 8}}},
            "s.yaml: evaluations.e.perplexity: undefined corpus 'u'",
        ),
        (
            {"evaluations": {"e": {"tasks": ["corpus_order"], "corpus": "u"}}},
            "s.yaml: evaluations.e.corpus: undefined corpus 'u'",
        ),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(part, message):
    with pytest.raises(MeltpointError) as error:
        study(**part)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


OLD = {
    "bits": {"size": "bits_per_weight"},
    "bytes": {"size": "bytes"},
    "prompt": {"speed": "prompt_tokens_per_second", "prompt": 64},
}


def test_old_spellings_mean_the_kind_with_that_main_score():
    sweep = {**RAW["sweeps"]["q"], "evaluations": list(OLD)}
    read = study(evaluations=OLD, sweeps={"q": sweep})
    found = {name: split_name(name, read.evaluations)[1].name for name in OLD}
    expected = {"bits": "bits_per_weight", "bytes": "bytes", "prompt": "prompt_tokens_per_second"}
    assert found == expected
    assert read.evaluations["prompt"].prompt == 64


def test_old_spellings_are_told():
    warnings = old_evaluations.warnings({"evaluations": OLD}, "s.yaml")
    assert warnings[0] == (
        "s.yaml: evaluations.bits.size: bits_per_weight is an old spelling, read for one release: "
        "write {size: weights, main: bits_per_weight}"
    )
    assert len(warnings) == 3
    assert old_evaluations.warnings(RAW, "s.yaml") == []
