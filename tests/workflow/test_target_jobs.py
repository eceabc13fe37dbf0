"""A node of a cluster runs the job that it is told to run, whatever its wildcards hold."""

import shutil

import pytest

from meltpoint.workflow.target_jobs import entries_of, wildcards_in

CHAIN = "gptq@4bit,group_size=64+lora,data=notes,steps=2"


@pytest.mark.parametrize("mark", ["", '"'])
def test_a_value_keeps_its_commas(mark):
    names = {"model", "chain", "evaluation"}
    text = f"model=tiny,chain={mark}{CHAIN}{mark},evaluation=prose-32"
    found = {"model": "tiny", "chain": CHAIN, "evaluation": "prose-32"}
    assert wildcards_in(text, names) == found
    assert wildcards_in("", set()) == {}
    text = f"model=tiny,prefix={mark}lora,steps=2+{mark},step={mark}rtn@4bit,group_size=8{mark}"
    found = {"model": "tiny", "prefix": "lora,steps=2+", "step": "rtn@4bit,group_size=8"}
    assert wildcards_in(text, {"model", "prefix", "step"}) == found
    assert wildcards_in("model=tiny,prefix=,step=rtn@4bit", set(found))["prefix"] == ""


def test_the_jobs_end_at_the_next_option():
    jobs = ["tokens:corpus=prose", "evaluate_size:model=tiny,chain=dense"]
    command = ["snakemake", "--target-jobs", *jobs, "--allowed-rules", "tokens"]
    assert entries_of(command) == jobs
    assert entries_of(["snakemake", "-n"]) == []


def test_a_chain_with_settings_is_made_by_the_process_that_is_told_to(project):
    """As Snakemake writes it on the command line of a job on SLURM."""
    chain = "wanda@0.5,calibration=given"
    folder = project.results / f"cells/tiny/{chain}"
    other = project.results / "cells/tiny/wanda@0.5"
    for each in (folder, other):
        shutil.rmtree(each / "checkpoint")
    job = f'compress_wanda:model=tiny,prefix=,step="{chain}"'
    project.run("--target-jobs", job, "--allowed-rules", "compress_wanda", cores=1)
    assert (folder / "checkpoint/meltpoint.json").exists()
    assert not (other / "checkpoint").exists()
