"""
Cells: one number each, with its error, protocol and origin.

REQUIRED INPUTS:

    results/models/{model}/ or cells/{model}/{chain}/checkpoint/
    tokens/{model}/{corpus}.npy

OUTPUTS:

    cells/{model}/{chain}/{evaluation}.json
    cells/{model}/{chain}/{evaluation}.nll.npy   of perplexity: float32 [windows, window - 1]

What llama.cpp runs is measured in its environment, and the speed of what a library has quantised in
that library's; everything else in that of torch.
"""


rule perplexity:
    input:
        checkpoint=plan.checkpoint,
        tokens=plan.evaluation_tokens,
        dense=plan.dense_nll,
    output:
        cell=f"{plan.results}/cells/{{model}}/{{chain}}/{{evaluation}}.json",
        nll=f"{plan.results}/cells/{{model}}/{{chain}}/{{evaluation}}.nll.npy",
    log:
        f"{plan.logs}/evaluate/{{model}}/{{chain}}/{{evaluation}}.log",
    benchmark:
        f"{plan.benchmarks}/evaluate/{{model}}/{{chain}}/{{evaluation}}.tsv"
    wildcard_constraints:
        evaluation=plan.names("evaluations", "perplexity"),
    conda:
        plan.env
    threads: plan.threads
    resources:
        mem_mb=lambda w: plan.memory_mb(w.model),
    params:
        job_spec=lambda w: plan.job_specs.evaluation(w.model, w.chain, w.evaluation).json(),
    message:
        "Evaluating {wildcards.model}, {wildcards.chain}: {wildcards.evaluation}"
    script:
        "../scripts/perplexity.py"


rule size:
    input:
        checkpoint=plan.checkpoint,
        dense=lambda w: plan.base_model(w.model),
    output:
        cell=f"{plan.results}/cells/{{model}}/{{chain}}/{{evaluation}}.json",
    log:
        f"{plan.logs}/evaluate/{{model}}/{{chain}}/{{evaluation}}.log",
    benchmark:
        f"{plan.benchmarks}/evaluate/{{model}}/{{chain}}/{{evaluation}}.tsv"
    wildcard_constraints:
        evaluation=plan.names("evaluations", "size"),
    conda:
        plan.env
    threads: plan.threads
    params:
        job_spec=lambda w: plan.job_specs.evaluation(w.model, w.chain, w.evaluation).json(),
    message:
        "Weighing {wildcards.model}, {wildcards.chain}: {wildcards.evaluation}"
    script:
        "../scripts/size.py"


rule speed:
    input:
        checkpoint=plan.checkpoint,
        dense=plan.dense_cell,
    output:
        cell=f"{plan.results}/cells/{{model}}/{{chain}}/{{evaluation}}.json",
    log:
        f"{plan.logs}/evaluate/{{model}}/{{chain}}/{{evaluation}}.log",
    benchmark:
        f"{plan.benchmarks}/evaluate/{{model}}/{{chain}}/{{evaluation}}.tsv"
    wildcard_constraints:
        evaluation=plan.names("evaluations", "speed"),
    conda:
        plan.env
    # All of this machine's, although it uses those of the study: so that nothing runs beside it.
    threads: workflow.resource_settings.cores or plan.threads
    resources:
        mem_mb=lambda w: plan.memory_mb(w.model),
    params:
        job_spec=lambda w: plan.job_specs.evaluation(w.model, w.chain, w.evaluation).json(),
    message:
        "Timing {wildcards.model}, {wildcards.chain}: {wildcards.evaluation}"
    script:
        "../scripts/speed.py"
