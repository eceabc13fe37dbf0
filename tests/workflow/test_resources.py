"""What a compression asks of a scheduler, and what the first lines of a run say of memory."""

import re
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meltpoint import methods
from meltpoint.errors import MeltpointError
from meltpoint.resources import Resources
from meltpoint.workflow import rule_resources
from meltpoint.workflow.bill import StudyBill
from meltpoint.workflow.dense_disk import dense_bytes
from meltpoint.workflow.model_sizes import ModelSize, ModelSizes
from meltpoint.workflow.rule_resources import RuleResources, check_gpus
from meltpoint.workflow.walk_memory import walk_bytes
from tests.support.project import ROOT
from tests.support.tiny_study import VOCABULARY

HUB = {"hub": "owner/name", "revision": "0" * 40}


@pytest.fixture
def declared(monkeypatch):
    """Has wanda declare other resources."""

    def declare(**changes):
        wanda = methods.registry()["wanda"]
        facts = wanda.facts.model_copy(update={"resources": Resources(**changes)})
        monkeypatch.setitem(methods.registry(), "wanda", replace(wanda, facts=facts))

    return declare


def of_step(study, chain="wanda@0.5"):
    return RuleResources(study, ModelSizes(study)).of_chain("tiny", chain)


def test_memory_and_disk_are_what_the_method_declares_times_the_model(resolved, declared):
    asked = []
    for factor in (1e4, 3e4):
        declared(memory=factor, disk=2 * factor)
        asked.append(of_step(resolved()))
    size = ModelSizes(resolved()).bytes("tiny")
    assert 4 * 20_000 < size < 4 * 40_000
    one, three = asked
    assert three.mem_mb - one.mem_mb == pytest.approx(2e4 * size / 1e6, abs=1)
    assert three.disk_mb - one.disk_mb == pytest.approx(4e4 * size / 1e6, abs=1)


def test_a_study_on_a_gpu_asks_for_one_and_a_method_for_as_many_as_it_needs(resolved, declared):
    on_cpu, on_gpu = resolved(), resolved(compute={"device": "cuda"})
    assert (of_step(on_cpu).gpu, of_step(on_gpu).gpu) == (0, 1)
    of_cell = RuleResources(on_gpu, ModelSizes(on_gpu)).of_evaluation
    assert of_cell("tiny", "dense", "prose-32").gpu == 1
    assert of_cell("tiny", "dense", "bits").gpu == 0
    check_gpus(on_cpu)
    declared(gpu=2, minutes=7)
    assert (of_step(on_cpu).gpu, of_step(on_gpu).gpu, of_step(on_gpu).runtime) == (2, 2, 7)
    with pytest.raises(
        MeltpointError, match=r"^compute\.device: cpu: wanda cannot run without a GPU"
    ):
        check_gpus(on_cpu)
    check_gpus(on_gpu)


def test_a_measurement_asks_for_the_logits_of_a_batch(resolved, monkeypatch):
    rules = RuleResources(resolved(), ModelSizes(resolved()))
    with_logits = rules.of_evaluation("tiny", "dense", "prose-32").mem_mb
    monkeypatch.setattr(rule_resources, "LOGITS_BYTES", 0)
    without = rules.of_evaluation("tiny", "dense", "prose-32").mem_mb
    assert with_logits - without == pytest.approx(3 * 4 * 2048 * VOCABULARY / 1e6, abs=1)


def test_a_job_that_is_tried_again_gets_its_time_again(resolved, declared):
    declared(minutes=7)
    runtime = RuleResources(resolved(), ModelSizes(resolved())).compression()["runtime"]
    wildcards = types.SimpleNamespace(model="tiny", prefix="", step="wanda@0.5")
    assert [runtime(wildcards, attempt) for attempt in (1, 3)] == [7, 21]


def test_a_hub_s_model_that_is_not_here_is_estimated_by_what_is_known_of_it(resolved):
    """LLaMA-2-7B in float32 is 27 GB; a library asks for three times that, and 1.3 GB for itself."""
    known = {"hub": "meta-llama/Llama-2-7b-hf", "revision": "0" * 40}
    declared = resolved(models={"tiny": known})
    assert of_step(declared, "gptq@4bit").mem_mb == pytest.approx(1300 + 12 * 6738.4, rel=0.001)
    hinted = resolved(models={"tiny": {**HUB, "parameters": 7.2e9}})
    assert of_step(hinted).mem_mb == pytest.approx(700 + 2 * 4 * 7200, rel=0.001)
    assert ModelSizes(hinted).hint() is None


def test_a_walk_asks_for_a_block_and_hidden_states_not_for_the_model(resolved, declared):
    """LLaMA-2-70B has 80 blocks of 0.86 billion weights, and 276 GB in all in float32."""
    study = resolved(models={"tiny": {"hub": "meta-llama/Llama-2-70b-hf", "revision": "0" * 40}})
    whole, block = 275_906, 24 * 856
    asked = {step: of_step(study, step).mem_mb for step in ("magnitude@0.5", "sparsegpt@0.5")}
    assert block < asked["magnitude@0.5"] < asked["sparsegpt@0.5"] < whole / 3
    # Gradients, and a library, see the whole model; so does a method that says what it needs.
    assert of_step(study, "gptq@4bit").mem_mb > 3 * whole
    declared(memory=2.0)
    assert of_step(study).mem_mb > 2 * whole


@pytest.mark.parametrize("outer_products", [False, True])
def test_what_a_walk_holds_does_not_grow_with_depth(outer_products):
    def held(blocks, **windows):
        config = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": 100}
        size = ModelSize(12_800 + blocks * 41_000, {**config, "num_hidden_layers": blocks})
        return walk_bytes(size, 4, windows, outer_products=outer_products)

    assert held(24) == held(48)
    windows = {"samples": 8, "length": 32}
    assert held(24, **windows) >= held(24) + 8 * 32 * 64 * 4
    unknown = ModelSize(1000, {"hidden_size": 64})
    assert walk_bytes(unknown, 4, {}, outer_products=outer_products) is None


def test_the_sentence_on_models_of_unknown_size_names_the_hint(resolved):
    def hint(**changes):
        return ModelSizes(resolved(**changes)).hint()

    some = hint(models={"other": HUB})
    assert "the size of other is not known" in some
    assert "models: {other: {..., parameters: 7.2e9}}" in some
    assert "the size of tiny, other is not known" in hint(models={"other": HUB, "tiny": HUB})
    assert hint() is None


def test_a_scheduler_is_not_asked_for_the_memory_of_a_model_of_unknown_size(fresh):
    fresh.edit_study(lambda study: study["models"].update(other=HUB))
    limited = ("--cores", "1", "--resources", "mem_mb=16000")
    result = fresh.snakemake(*limited)
    assert result.code != 0
    error = next(line for line in result.output.splitlines() if line.startswith("Error: "))
    assert error.startswith("Error: the size of other is not known")
    assert "Traceback" not in result.output
    assert fresh.snakemake("-n", *limited).code == 0


RULES = [file for file in sorted((ROOT / "rules").glob("*.smk")) if "script:" in file.read_text()]


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_every_rule_says_what_it_asks_of_the_machine(file):
    """A rule that collects others' outputs runs nothing."""
    rules = re.split(r"^ *rule\b", file.read_text(), flags=re.MULTILINE)[1:]
    assert rules
    running = [rule for rule in rules if "script:" in rule]
    assert all("**plan.resources." in rule for rule in running)


def test_the_bill_counts_the_dense_models_hidden_states(resolved):
    """16 windows of 32 tokens give 16 x 31 vectors of 32 float32 numbers: 63 kB."""

    def counted(declared):
        return dense_bytes(declared, ModelSizes(declared))

    declared = resolved(
        evaluations={"prose-32": {"perplexity": "prose", "window": 32, "windows": 16}}
    )
    assert counted(declared) == (16 * 31 * 32 * 4, ["fixed-32"])
    summary = StudyBill(declared, ModelSizes(declared), "results/tiny").text("tiny.yaml", 1)
    assert "63.5 kB of dense models' hidden states" in summary
    assert "hidden states of fixed-32 are not counted" in summary
    tokens = Path("results/tiny/tokens/tiny/fixed.npy")
    tokens.parent.mkdir(parents=True)
    np.save(tokens, np.zeros(2000, np.int32))
    assert counted(declared) == ((16 + 62) * 31 * 32 * 4, [])
    half = resolved(compute={"dtype": "bfloat16"})
    assert counted(half) == (62 * 31 * 32 * 2, ["prose-32"])
    without = {"perplexity": "prose", "window": 32, "fidelity": False}
    none = resolved(evaluations={"prose-32": without, "fixed-32": without})
    assert counted(none) == (0, [])
