"""
Cells: one number each, with its error, protocol and origin.

REQUIRED INPUTS:

    results/models/{model}/ or cells/{model}/{chain}/checkpoint/
    tokens/{model}/{corpus}.npy

OUTPUTS:

    cells/{model}/{chain}/{evaluation}.json
    cells/{model}/{chain}/{evaluation}.nll.npy   of perplexity: float32 [windows, window - 1]
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
        "../envs/torch.yaml"
    threads: plan.threads
    resources:
        mem_mb=lambda w: plan.memory_mb(w.model),
    params:
        recipe=lambda w: plan.recipes.evaluation(w.model, w.chain, w.evaluation),
    message:
        "Evaluating {wildcards.model}, {wildcards.chain}: {wildcards.evaluation}"
    script:
        "../scripts/perplexity.py"


rule size:
    input:
        checkpoint=plan.checkpoint,
        dense="results/models/{model}",
    output:
        cell=f"{plan.results}/cells/{{model}}/{{chain}}/{{evaluation}}.json",
    log:
        f"{plan.logs}/evaluate/{{model}}/{{chain}}/{{evaluation}}.log",
    benchmark:
        f"{plan.benchmarks}/evaluate/{{model}}/{{chain}}/{{evaluation}}.tsv"
    wildcard_constraints:
        evaluation=plan.names("evaluations", "size"),
    conda:
        "../envs/torch.yaml"
    threads: plan.threads
    params:
        recipe=lambda w: plan.recipes.evaluation(w.model, w.chain, w.evaluation),
    message:
        "Weighing {wildcards.model}, {wildcards.chain}: {wildcards.evaluation}"
    script:
        "../scripts/size.py"
