"""Cost of a grid of a 70B model on 8 GPUs, by arithmetic; nothing is run.

    python -m benchmarks.large_grid [--gpus 8]

The jobs, their operations and their bytes are those of the bill before a run (`meltpoint.workflow`),
for a study of Llama-2-70B in bfloat16: 26 checkpoints, a perplexity and a size of each. The numbers of
docs/scale.md are what this prints.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from meltpoint.study import config
from meltpoint.study.resolved import Study
from meltpoint.workflow.bill import bill_of
from meltpoint.workflow.cost_model import SHIPPED, Constants, CostModel
from meltpoint.workflow.dense_disk import dense_bytes
from meltpoint.workflow.job_costs import JobCosts
from meltpoint.workflow.model_sizes import ModelSizes
from meltpoint.workflow.rule_resources import RuleResources

WIKITEXT = {
    "hub": "Salesforce/wikitext",
    "revision": "b08601e04326c79dfdd32d625aee71d232d685c3",
    "config": "wikitext-2-raw-v1",
}
GROUPS = {
    "unstructured": (["magnitude", "wanda", "sparsegpt"], [0.3, 0.4, 0.5, 0.6, 0.7, "2:4"]),
    "structured": (["slicegpt"], [0.1, 0.2, 0.25, 0.3]),
    "quantization": (["rtn", "gptq"], ["4bit", "3bit"]),
}
STUDY = {
    "study": "large",
    "models": {"llama2-70b": {"hub": "meta-llama/Llama-2-70b-hf", "revision": "0" * 40}},
    "corpora": {name: {**WIKITEXT, "split": name} for name in ("train", "test")},
    "calibrations": {"default": {"corpus": "train", "samples": 128, "length": 2048}},
    "evaluations": {
        # The windows of WikiText-2's test set: its hidden states are counted before it is tokenised.
        "wikitext2-2048": {"perplexity": "test", "window": 2048, "windows": 166},
        "size": {"size": "weights"},
    },
    "sweeps": {
        name: {
            "models": ["llama2-70b"],
            "methods": methods,
            "levels": levels,
            "evaluations": ["wikitext2-2048", "size"],
        }
        for name, (methods, levels) in GROUPS.items()
    },
    "compute": {"device": "cuda", "dtype": "bfloat16"},
}
# Of data sheets, in bytes a second: a node's NVMe disk, and a network of 25 Gbit/s.
DISK, NETWORK = 3e9, 25e9 / 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, default=8)
    gpus = parser.parse_args().gpus
    study = Study(config.load(STUDY, "large"), Path("."))
    sizes = ModelSizes(study)
    jobs = JobCosts(study, sizes, "results/large").all()
    model = CostModel(Constants.model_validate_json(SHIPPED.read_text()))
    bill, weights = bill_of(jobs, model), sizes.bytes("llama2-70b")
    print(f"weights {weights / 1e9:.0f} GB, {len(study.checkpoints)} checkpoints")
    for family, line in bill.lines.items():
        hours = f"GPU {line.gpu / 3600:6.1f} h  CPU {line.rest / 3600:5.2f} h"
        print(f"{family:14} {line.jobs:4} jobs  {hours}")
    compute, other = defaultdict(float), defaultdict(float)
    least = bill.total.gpu / 3600 / gpus
    for job in jobs:
        compute[job.family] += job.work.operations / model.machine.gpu_rate / 3600
        other[job.family] += job.work.elements / model.machine.gpu_elements_rate / 3600
    shares = ", ".join(f"{family} {hours:.1f}" for family, hours in compute.items() if hours > 0.05)
    print(f"of that matrix products: {shares} h; other arithmetic {sum(other.values()):.1f} h")
    print(f"{gpus} GPUs: {least:.1f} h at least; the longest chain {bill.longest_gpu / 3600:.1f} h")
    moved = sum(job.moved for job in jobs)
    hidden = dense_bytes(study, sizes)[0]
    disk = weights * (1 + len(study.checkpoints)) + hidden
    print(
        f"disk {disk / 1e12:.2f} TB, of that hidden states of the dense model {hidden / 1e9:.1f} GB"
    )
    together = model.machine.bytes_rate * gpus / 1e9
    print(f"weights move at {together:.1f} GB/s by {gpus} jobs, {moved / 1e12:.1f} TB in all")
    for name, rate in (("one disk", DISK), ("one network link", NETWORK)):
        print(f"{moved / rate / 3600:.1f} h for all of it through {name} of {rate / 1e9:.1f} GB/s")
    resources = RuleResources(study, sizes)
    asked = {step: resources.of_chain("llama2-70b", step) for _, step in study.checkpoints}
    for step, job in asked.items():
        if step.endswith(("@0.5", "@0.3", "@4bit")):
            print(
                f"{step:16} asks for {job.mem_mb / 1e3:.0f} GB and {job.disk_mb / 1e3:.0f} GB of disk"
            )


if __name__ == "__main__":
    main()
