"""Studies that need a hub and a GPU, on a stand-in: a tiny random model, short windows, three levels.

The study's file is read as it is. Its models, its texts, the documents of its tasks, and what would be
too long for the tiny model are replaced; its methods, sweeps, tables and figures are not.
"""

import json

import pandas as pd
import pytest
import yaml

from meltpoint.evaluations import generation
from tests.support import lm_eval_files, tiny_study, tiny_tasks
from tests.support.documents import use_documents
from tests.support.project import ROOT
from tests.support.run_study import run_study

LEVELS = [0.2, 0.4, 0.6]
COMPUTE = {"device": "cpu", "dtype": "float32", "threads": 1}
# As many blocks as the 7B models have, where a study names some of them by their numbers.
BLOCKS = {"mpt-structured": 32, "mpt-low-rank": 2, "operation-order": 5}


# AWQ has groups of 128 columns.
SIZES = {"operation-order": {"hidden_size": 128, "intermediate_size": 256}}
# Short prompts, and notes as their responses.
INSTRUCTIONS = {
    "path": "instructions.jsonl",
    "instructions": {"prompt": "prompt", "query": None, "response": "note"},
}
# Every byte has a token: the prompts of LawBench are Chinese.
VOCABULARY = 320
# A fine-tuning of two steps.
TRAINING = {"batch": "4", "length": "32", "steps": "2", "validation": "0.2"}


def quickly(step: str) -> str:
    """A step, a fine-tuning with few steps on short windows."""
    name, *settings = step.split(",")
    if name != "lora":
        return step
    known = dict(pair.split("=") for pair in settings)
    return ",".join([name, *(f"{k}={v}" for k, v in sorted({**known, **TRAINING}.items()))])


def label_of(row: str) -> str:
    """Name of a row: its methods, then the settings of each step, those of a fine-tuning as above."""
    methods, *settings = row.split(",")
    names = methods.split("+")
    if "lora" not in names:
        return row
    parts = ",".join(settings).split("+")
    place = len(parts) - len(names) + names.index("lora")
    parts[place] = quickly(f"lora,{parts[place]}").removeprefix("lora,")
    return ",".join([methods, "+".join(parts)])


def shortened(study: dict, models: int = 1) -> dict:
    """The study with the stand-in's model and texts, the first models of each group alone."""
    use_documents(study)
    study["models"] = {name: {"path": "model"} for name in study["models"]}
    text = {"path": "notes.jsonl"}
    study["corpora"] = {
        name: INSTRUCTIONS if "instructions" in corpus else text
        for name, corpus in study.get("corpora", {}).items()
    }
    for calibration in study.get("calibrations", {}).values():
        calibration.update(samples=4, length=min(40, calibration["length"]))
    for evaluation in study["evaluations"].values():
        if "window" in evaluation:
            evaluation["window"] = 32
        if "speed" in evaluation:
            evaluation.update(prompt=8, generated=2, runs=2)
        if "tasks" in evaluation:
            evaluation.update(data="tasks", limit=2)
        elif {"lawbench", "mmlu_generation"} & evaluation.keys():
            evaluation.update(limit=1, max_new_tokens=4, refuse_above=1)
        elif "data" in evaluation:
            evaluation.update(data="tasks", max_new_tokens=4)
    for sweep in study.get("sweeps", {}).values():
        # ASVD cannot remove as much as others: its levels end below those.
        all_reach = isinstance(sweep["levels"][0], float) and max(sweep["levels"]) >= max(LEVELS)
        sweep["levels"] = LEVELS if all_reach else sweep["levels"][-3:]
        sweep["models"] = sweep["models"][:models]
    for group in study.get("chains", {}).values():
        group["models"] = group["models"][:models]
        for stage in group.get("stages", ()):
            if "levels" in stage:
                stage["levels"] = stage["levels"][:2]
            stage["methods"] = [quickly(method) for method in stage["methods"]]
        group["chains"] = ["+".join(map(quickly, x.split("+"))) for x in group.get("chains", ())]
    groups = {**study.get("sweeps", {}), **study.get("chains", {})}
    for part in (*study["tables"].values(), *study.get("figures", {}).values()):
        kept = groups[part["source"]]["models"]
        labels = part.get("labels", {})
        part["labels"] = {label_of(names): printed for names, printed in labels.items()}
        if "published_models" in part:
            pairs = part["published_models"].items()
            part["published_models"] = {ours: theirs for ours, theirs in pairs if ours in kept}
    # A random model may answer nothing right, and no change in percent can be drawn of a score of 0.
    perplexities = [name for name, x in study["evaluations"].items() if "perplexity" in x]
    for figure in study.get("figures", {}).values():
        if figure.get("kind") == "changes":
            figure["more"] = [*figure.get("more", ()), *perplexities]
    return study | {"compute": COMPUTE, "keep_checkpoints": "all"}


@pytest.mark.slow
@pytest.mark.workflow
@pytest.mark.parametrize("name", BLOCKS)
def test_a_study_of_the_hub_runs_on_a_stand_in(name, tmp_path):
    lines = tiny_study.sentences(200)
    sizes = {"vocab_size": VOCABULARY, **SIZES.get(name, {})}
    tiny_study.write_model(tmp_path / "model", num_hidden_layers=BLOCKS[name], **sizes)
    tokenizer = tiny_study.train_tokenizer(lines, VOCABULARY, every_byte=True)
    tokenizer.save_pretrained(tmp_path / "model")
    tiny_study.write_notes(tmp_path / "notes.jsonl", lines)
    records = [{"prompt": line[:8], "note": line} for line in lines]
    rows = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "instructions.jsonl").write_text(rows)
    study = shortened(yaml.safe_load((ROOT / f"studies/{name}.yaml").read_text()))
    run_study(tmp_path, json.dumps(study))
    results = tmp_path / "results" / name
    assert (results / "report.html").stat().st_size > 10_000
    for table in study["tables"]:
        rows = pd.read_csv(results / f"tables/{table}.csv")
        if "source" not in rows:
            assert (rows["status"] == "ok").mean() > 0.8, table
            continue
        measured = rows[(rows["source"] == "measured") & (rows["method"] != "dense")]
        assert (measured["status"] == "ok").mean() > 0.8, table


@pytest.mark.slow
@pytest.mark.workflow
def test_the_study_of_decoding_strategies_runs_on_a_stand_in(tmp_path):
    """The tasks are a stand-in too; MAUVE is refused, because the model reads too few tokens."""
    lines = tiny_study.sentences(200)
    tiny_study.write_model(tmp_path / "model", num_hidden_layers=4)
    tiny_study.train_tokenizer(lines).save_pretrained(tmp_path / "model")
    tiny_tasks.write(tmp_path / "tasks")
    study = shortened(yaml.safe_load((ROOT / "studies/decoding.yaml").read_text()), models=2)
    # Of the three pairs with an amateur one is enough.
    for section in ("evaluations", "chains", "tables"):
        others = [name for name in study[section] if name.endswith(("llama3.1", "gemma2"))]
        assert others, section
        for name in others:
            del study[section][name]
    tiny_tasks.write_wikinews(tmp_path / "tasks", lines[: generation.FEWEST_FOR_MAUVE])
    run_study(tmp_path, json.dumps(study))
    results = tmp_path / "results/decoding"
    assert (results / "report.html").stat().st_size > 10_000
    rows = pd.read_csv(results / "tables/wikinews.csv")
    assert list(rows["strategy"].unique()) == study["evaluations"]["wikinews"]["strategies"]
    written = rows[rows["score"] == "tokens_per_second"]
    assert (written["status"] == "ok").all()
    assert (rows.loc[rows["score"] == "mauve", "status"] == "refused").all()
    contrast = (results / "tables/contrast-llama2.md").read_text()
    assert "| 0.182 " in contrast, "the published value"


@pytest.mark.slow
@pytest.mark.workflow
def test_the_ladder_has_accuracies_beside_the_published_ones(tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    lines = tiny_study.sentences(200)
    sizes = {"hidden_size": 256, "intermediate_size": 256, "max_position_embeddings": 512}
    tiny_study.write_model(tmp_path / "model", **sizes)
    tiny_study.train_tokenizer(lines).save_pretrained(tmp_path / "model")
    tiny_study.write_notes(tmp_path / "notes.jsonl", lines)
    for task in ("arc_easy", "arc_challenge"):
        lm_eval_files.write_arc(tmp_path / "tasks", task)
    lm_eval_files.write_mmlu(tmp_path / "tasks")
    study = shortened(yaml.safe_load((ROOT / "studies/gguf-ladder.yaml").read_text()))
    run_study(tmp_path, json.dumps(study))
    results = tmp_path / "results/gguf-ladder"
    printed = (results / "tables/table5-tasks.md").read_text().splitlines()
    (head,) = [line for line in printed if "arc_easy" in line]
    assert head.count("published") == head.count("difference") == 4
    (row,) = [line for line in printed if "Q8" in line]
    ladder = pd.read_csv(ROOT / "resources/published/mpt_gguf.csv")
    published = ladder.query("model == 'Qwen2.5-0.5B' and scheme == 'Q8_0'").iloc[0]
    shown = [cell.strip() for cell in row.split("|")]
    assert all(f"{published[column]:.3f}" in shown for column in ("arc_e", "arc_c", "mmlu"))
    assert (results / "figures/arc_easy.svg").is_file()
    rows = pd.read_csv(results / "tables/table5-tasks.csv")
    assert (rows.loc[rows["source"] == "measured", "status"] == "ok").all()


@pytest.mark.slow
@pytest.mark.workflow
def test_the_parameter_search_runs_on_a_stand_in(tmp_path):
    """One task of two documents, and eight runs for each model."""
    lines = tiny_study.sentences(200)
    tiny_study.write_model(tmp_path / "model")
    tiny_study.train_tokenizer(lines).save_pretrained(tmp_path / "model")
    tiny_study.write_notes(tmp_path / "notes.jsonl", lines)
    lm_eval_files.write_arc(tmp_path / "tasks", "arc_easy")
    study = shortened(yaml.safe_load((ROOT / "studies/parameter-search.yaml").read_text()))
    study["evaluations"]["zeroshot"]["tasks"] = ["arc_easy"]
    grid = {"prior": ["taylor", "blockwise"], "length": [16, 32], "samples": [5, 10]}
    for sweep in study["sweeps"].values():
        sweep.update(levels=[0.2], settings=grid)
    run_study(tmp_path, json.dumps(study))
    folder = tmp_path / "results/parameter-search/search"
    for model in ("llama3-8b", "qwen2.5-7b"):
        runs = pd.read_csv(folder / f"consolidated_{model}_20/all_methods_results.csv")
        assert len(runs) == 8
        assert runs["acc_arc_easy"].between(0, 1).all()
        assert (folder / f"best_{model}_20/visualization/gradient_analysis.png").is_file()
    assert len(json.loads((folder / "cross_model_comparison.json").read_text())) == 2
