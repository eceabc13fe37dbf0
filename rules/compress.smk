"""
Chains of compression: one rule per method, generated from the registry.

REQUIRED INPUTS:

    results/models/{model}/                    for a chain's first step
    cells/{model}/{prefix}/checkpoint/         for later steps: the chain without its last step
    tokens/{model}/{corpus}.npy                for a calibrated method, and for a method that trains
    tokens/{model}/{corpus}.instructions.npy   for a method that trains on instructions
    cells/{model}/{prefix}/search/             for a method that has a search

OUTPUTS:

    cells/{model}/{prefix}{step}/checkpoint/   a Hugging Face folder with meltpoint.json
"""

for method, temporary in plan.compressions.rules():

    rule:
        name:
            f"compress_{method.name}" + ("_temporarily" if temporary else "")
        input:
            parent=plan.parent,
            tokens=plan.calibration_files,
            search=plan.searches.read_by,
            texts=plan.compressions.texts,
        output:
            plan.compressions.output(directory, temp, temporary),
        log:
            f"{plan.logs}/compress/{{model}}/{{prefix}}{{step}}.log",
        benchmark:
            f"{plan.benchmarks}/compress/{{model}}/{{prefix}}{{step}}.tsv"
        wildcard_constraints:
            prefix=plan.compressions.prefixes(temporary),
            step=plan.compressions.steps_of(method),
        group:
            plan.groups.of_compression
        conda:
            plan.env_file(method.env)
        threads: plan.threads
        resources:
            **plan.resources.compression(),
        params:
            job_spec=lambda w: plan.job_specs.compress(w.model, w.prefix + w.step).json(),
        message:
            "Compressing {wildcards.model}: {wildcards.prefix}{wildcards.step}"
        script:
            "../scripts/compress.py"
