"""
Cells: all scores of an evaluation, one rule per kind, generated from the registry.

REQUIRED INPUTS:

    results/models/{model}/ or cells/{model}/{chain}/checkpoint/
    tokens/{model}/{corpus}.npy, .ends.npy             for a kind that reads a corpus
    cells/{model}/dense/{evaluation}.json, .*          for any chain but dense

OUTPUTS:

    cells/{model}/{chain}/{evaluation}.json
    cells/{model}/{chain}/{evaluation}.*   files that the kind keeps for paired statistics (.nll.npy)

A cell is measured in the environment of its kind. The environment of the chain's last method comes
first if its checkpoints need one: llama.cpp's, or for speed the quantization library's.
"""

for kind in plan.evaluation_kinds():

    rule:
        name:
            f"evaluate_{kind.name}"
        input:
            unpack(plan.evaluation_inputs),
        output:
            f"{plan.results}/cells/{{model}}/{{chain}}/{{evaluation}}.json",
            plan.kept(kind),
        log:
            f"{plan.logs}/evaluate/{{model}}/{{chain}}/{{evaluation}}.log",
        benchmark:
            f"{plan.benchmarks}/evaluate/{{model}}/{{chain}}/{{evaluation}}.tsv"
        wildcard_constraints:
            evaluation=plan.evaluations_of(kind),
        # Cells come before further compressions: a checkpoint kept only for cells can then be deleted.
        priority: 1
        group:
            plan.groups.of_evaluation
        conda:
            plan.env
        threads: plan.evaluation_threads(kind, workflow.resource_settings.cores)
        resources:
            **plan.resources.evaluation(),
        params:
            job_spec=lambda w: plan.job_specs.evaluation(w.model, w.chain, w.evaluation).json(),
        message:
            "Evaluating {wildcards.model}, {wildcards.chain}: {wildcards.evaluation}"
        script:
            "../scripts/evaluate.py"
