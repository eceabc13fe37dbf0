"""Tables and figures of several evaluations, and chains as products of stages: what a study may say."""

from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.hashing import HashCache
from meltpoint.study import config
from meltpoint.study.resolved import Study
from meltpoint.workflow.job_specs.study import JobSpecs

ROOT = Path(__file__).parents[2]
STAGES = [
    {"methods": ["magnitude"], "levels": [0.3, 0.5]},
    {"methods": ["rtn"], "levels": ["8bit", "4bit"]},
]


def study(tables=None, figures=None, chains=None, models=("m",)):
    """A sweep of bit widths, chains of two stages, and a table or figure, of the sweep if not said."""
    shown = ["ppl", "long", "bits"]
    raw = {
        "study": "s",
        "models": {model: {"train": {}} for model in models},
        "corpora": {"t": {"builtin": "python-docs", "split": "test"}},
        "evaluations": {
            "ppl": {"perplexity": "t", "window": 8},
            "long": {"perplexity": "t", "window": 16},
            "bits": {"size": "bits_per_weight"},
            "bytes": {"size": "bytes"},
        },
        "sweeps": {
            "q": {
                "models": [*models],
                "methods": ["rtn"],
                "levels": ["4bit"],
                "evaluations": shown,
            },
            "g": {
                "models": [*models],
                "methods": ["gguf"],
                "levels": ["q8_0"],
                "evaluations": shown,
            },
        },
        "chains": {
            "c": {"models": [*models], "stages": STAGES, "evaluations": shown, **(chains or {})}
        },
        "tables": {"t": {"source": "q", "columns": "evaluation", **tables}} if tables else {},
        "figures": {"f": {"source": "q", "value": "ppl", **figures}} if figures else {},
    }
    return Study(config.load(raw, "s.yaml"), ROOT)


# --- chains ----------------------------------------------------------------------------------------


def test_stages_make_every_chain_and_the_margins():
    assert sorted(study().chains("c")) == sorted(
        [
            *["rtn@8bit", "rtn@4bit", "magnitude@0.3", "magnitude@0.5"],
            *["magnitude@0.3+rtn@8bit", "magnitude@0.3+rtn@4bit"],
            *["magnitude@0.5+rtn@8bit", "magnitude@0.5+rtn@4bit"],
        ]
    )


def test_a_stage_that_is_not_skipped_is_in_every_chain():
    stages = [{**STAGES[0], "skip": False}, {**STAGES[1], "settings": {"group_size": [32, 128]}}]
    chains = study(chains={"stages": stages}).chains("c")
    assert len(chains) == 2 * (1 + 4)
    assert all(chain.startswith("magnitude@") for chain in chains)
    assert "magnitude@0.5+rtn@4bit,group_size=32" in chains


def test_written_chains_and_stages_go_together():
    chains = study(chains={"chains": ["rtn@4bit+magnitude@0.5", "rtn@4bit"]}).chains("c")
    assert chains[0] == "rtn@4bit+magnitude@0.5"
    assert len(chains) == len(set(chains)) == 1 + 8


@pytest.mark.parametrize(
    ("chains", "message"),
    [
        ({"stages": []}, r"chains\.c: write chains out under `chains`, give their `stages`"),
        (
            {"stages": [{"methods": ["rtm"], "levels": ["4bit"]}]},
            r"chains\.c\.stages\.0\.methods: unknown method 'rtm': did you mean 'rtn'",
        ),
        (
            {"stages": [STAGES[0], {"methods": ["rtn"], "levels": ["4-bit"]}]},
            r"chains\.c\.stages\.1\.levels: '4-bit' is no level",
        ),
        ({"stages": [{"methods": ["rtn"]}]}, r"chains\.c\.stages\.0\.levels: rtn needs levels"),
        (
            {"stages": [{**STAGES[1], "settings": {"groupsize": [1]}}]},
            r"stages\.0\.settings: none of its methods has a setting 'groupsize'",
        ),
        ({"stages": [{**STAGES[1], "models": ["m"]}]}, r"stages\.0\.models: there is no such key"),
    ],
)
def test_wrong_stages_are_said(chains, message):
    with pytest.raises(MeltpointError, match=message):
        study(chains=chains)


# --- tables and figures ----------------------------------------------------------------------------

CONTOUR = {"kind": "contour", "source": "c"}
TRADEOFF = {"kind": "tradeoff", "x": "bits"}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"value": ["ppl", "bites"]},
            r"tables\.t\.value: q is not evaluated on 'bites': did you mean 'bits'",
        ),
        ({"value": ["ppl", "bytes"]}, r"tables\.t\.value: q is not evaluated on 'bytes'"),
        (
            {"value": ["ppl", "long"], "published": "mpt_quant_ppl"},
            r"tables\.t\.published: mpt_quant_ppl holds perplexities, so exactly one",
        ),
        ({"value": ["bits"], "published": "mpt_quant_ppl"}, r"published: .* so exactly one"),
        (
            {"value": ["ppl"], "published": "mpt_gguf"},
            r"tables\.t\.published_models: mpt_gguf holds several models: .* \{m: Qwen2\.5-0\.5B\}",
        ),
        (
            {
                "source": "g",
                "value": ["ppl"],
                "published": "mpt_gguf",
                "published_models": {"n": "Qwen2.5-3B"},
            },
            r"published_models: 'n' is no model of it: known: m",
        ),
        (
            {
                **{"source": "g", "value": ["ppl"], "published": "mpt_gguf"},
                "published_models": {"m": "Qwen2.5-3"},
            },
            r"published_models: 'Qwen2\.5-3' is no model of mpt_gguf: did you mean 'Qwen2\.5-3B'",
        ),
        (
            {"value": ["ppl"], "published": "mpt_gguf", "published_models": {"m": "Qwen2.5-3B"}},
            r"tables\.t\.published: mpt_gguf is of gguf, which q has not",
        ),
        (
            {"value": ["ppl"], "published": "mpt_quant_ppl", "compare_with": {"rtn": "RTM"}},
            r"compare_with: 'RTM' is no method of mpt_quant_ppl",
        ),
    ],
)
def test_a_table_of_evaluations_names_what_is_there(tables, message):
    with pytest.raises(MeltpointError, match=message):
        study(tables=tables)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({**TRADEOFF, "x": "bytes"}, r"figures\.f\.x: q is not evaluated on 'bytes'"),
        ({**TRADEOFF, "value": "bits", "x": "ppl"}, r"figures\.f\.value: a tradeoff is of a perpl"),
        ({**TRADEOFF, "x": "ppl"}, r"figures\.f: ppl is drawn over itself"),
        (
            {**TRADEOFF, "published": "mpt_gguf"},
            r"f\.published_models: mpt_gguf holds several",
        ),
        (
            {**TRADEOFF, "published": "mpt_quant_ppl", "published_models": {"rtn": "GPTQ"}},
            r"figures\.f\.published_models: mpt_quant_ppl is of one model: use published_model",
        ),
        (
            {"source": "g", "published": "mpt_gguf", "published_models": {"m": "Qwen2.5-3B"}},
            r"figures\.f\.published: mpt_gguf holds no sparsities",
        ),
        (
            {"source": "c", "fit": "transition"},
            r"figures\.f\.fit: curves are fitted to sweeps, and c",
        ),
        ({"kind": "contour"}, r"figures\.f\.source: no chain of q is a pruning step at a sparsity"),
        ({**CONTOUR, "y": "bytes"}, r"figures\.f\.y: c is not evaluated on 'bytes'"),
        ({**CONTOUR, "value": "bits"}, r"figures\.f\.value: a contour is of a perplexity"),
        (
            {**CONTOUR, "labels": {"rtm": "R"}},
            r"labels: 'rtm' is no step of it: did you mean 'rtn'",
        ),
        (
            {**CONTOUR, "labels": {"magnitude+rtn": "R"}},
            r"labels: 'magnitude\+rtn' is no step of it",
        ),
        ({**TRADEOFF, "published_model": "m"}, r"published_model: name the published table too"),
        (
            {**CONTOUR, "published": "mpt_combined_ppl"},
            r"f\.published: there is no such key for contour; curves or tradeoff has it",
        ),
        (
            {"kind": "spread", "x": "method", "y": "bits"},
            r"f\.y: there is no such key for spread; contour or .* has it",
        ),
    ],
)
def test_a_figure_of_quantization_names_what_is_there(figures, message):
    with pytest.raises(MeltpointError, match=message):
        study(figures=figures)


def test_a_contours_labels_are_those_of_its_steps():
    study(figures={**CONTOUR, "labels": {"magnitude": "Magnitude", "rtn": "RTN"}})
    pruned_first = {"stages": [{**STAGES[0], "skip": False}, {**STAGES[1], "skip": False}]}
    study(figures={**CONTOUR, "labels": {"rtn": "RTN"}}, chains=pruned_first)


PUBLISHED = {"published": "mpt_quant_ppl"}
TABLE = {"value": ["ppl"], "compare_with": {"rtn": "GPTQ"}, **PUBLISHED}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            {"tables": TABLE},
            r"tables\.t\.published_model: mpt_quant_ppl is of one model: say which",
        ),
        ({"tables": {**TABLE, "published_model": "p"}}, r"published_model: 'p' is no model of it"),
        ({"figures": {**TRADEOFF, **PUBLISHED}}, r"figures\.f\.published_model: .* such as m"),
        (
            {
                "figures": {
                    "source": "g",
                    **TRADEOFF,
                    "published": "mpt_gguf",
                    "published_model": "m",
                },
            },
            r"published_model: mpt_gguf holds several models: use published_models",
        ),
    ],
)
def test_of_several_models_the_one_that_was_published_is_named(part, message):
    with pytest.raises(MeltpointError, match=message):
        study(**part, models=("m", "n"))


def test_the_model_that_was_published_need_not_be_named_where_it_is_plain():
    study(tables=TABLE)
    study(tables={**TABLE, "published_model": "n"}, models=("m", "n"))
    study(figures={**TRADEOFF, **PUBLISHED, "published_model": "n"}, models=("m", "n"))
    study(tables={"value": ["ppl"], **PUBLISHED}, models=("m", "n"))


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({**CONTOUR, "width": 4.7}, "3 beside each other and 2 below, .* 4.6 at the most"),
        ({"source": "c", "width": 3.0}, "6 beside each other and 1 below, .* 2.3 at the most"),
        (
            {"kind": "spread", "x": "method", "width": 4.2},
            "1 beside each other and 6 below, .* 4.1",
        ),
        ({"source": "c", "kind": "tradeoff", "width": 4.7}, "3 beside each other and 2 below"),
        ({"width": 15}, "at most 14; it is 15"),
    ],
)
def test_a_figure_too_large_to_look_at_is_refused(figure, message):
    with pytest.raises(MeltpointError, match=rf"figures\.f\.width: .*{message}"):
        study(figures=figure, models=tuple("abcdef"))


def test_lines_of_models_share_a_panel_that_may_be_wide():
    study(figures={**TRADEOFF, "source": "g", "width": 6.5}, models=tuple("abcdef"))


def test_schemes_of_as_many_nominal_bits_need_an_evaluation():
    schemes = {"methods": ["gguf"], "levels": ["q4_k_m", "q4_0"]}
    chains = {"stages": [STAGES[0], schemes]}
    with pytest.raises(
        MeltpointError, match=r"figures\.f\.y: gguf@q4_0 has no nominal bits of its"
    ):
        study(figures=CONTOUR, chains=chains)
    study(figures={**CONTOUR, "y": "bits"}, chains=chains)


def job_specs(made: Study, tmp_path) -> JobSpecs:
    return JobSpecs(made, ROOT / "envs", HashCache(tmp_path / "hashes.json"))


def test_a_table_is_made_of_the_cells_of_all_its_evaluations(tmp_path):
    made = [study(tables={"value": value}) for value in (["ppl"], ["ppl", "bits"])]
    first, second = (job_specs(one, tmp_path) for one in made)
    tables = [one.config.tables["t"] for one in made]
    assert [len(r._cells(t)) for r, t in zip((first, second), tables, strict=True)] == [2, 4]
    assert first.table("t") != second.table("t")


@pytest.mark.parametrize("figure", [TRADEOFF, {**CONTOUR, "y": "bits"}, CONTOUR])
def test_a_figure_is_made_of_the_cells_of_its_axes(figure, tmp_path):
    made = study(figures=figure)
    part = made.config.figures["f"]
    axes = 1 + ("bits" in (getattr(part, "x", None), getattr(part, "y", None)))
    cells = job_specs(made, tmp_path)._cells(part)
    assert len(cells) == axes * len(made.cells(part.source, "ppl"))
    assert {spec.cell["evaluation"] for spec in cells} == set(part.evaluations)


# --- how jobs compute ------------------------------------------------------------------------------


def test_llama_cpp_cannot_stream():
    raw = {
        "study": "s",
        "models": {"m": {"train": {}}},
        "corpora": {"t": {"builtin": "python-docs", "split": "test"}},
        "evaluations": {"ppl": {"perplexity": "t", "window": 8}},
        "chains": {
            "c": {"models": ["m"], "chains": ["magnitude@0.5"], "evaluations": ["ppl"]},
        },
        "compute": {"stream": True},
    }
    Study(config.load(raw, "s.yaml"), ROOT)
    raw["chains"]["c"]["chains"].append("magnitude@0.5+gguf@q8_0")
    message = r"^compute\.stream: true is not possible for magnitude@0\.5\+gguf@q8_0, as llama\.cpp"
    with pytest.raises(MeltpointError, match=message):
        Study(config.load(raw, "s.yaml"), ROOT)
    raw["compute"]["stream"] = "auto"
    Study(config.load(raw, "s.yaml"), ROOT)
