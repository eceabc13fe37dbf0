"""
Searches: results that a method needs once for all its levels. One rule per method with a search.

REQUIRED INPUTS:

    results/models/{model}/ or cells/{model}/{chain}/checkpoint/
    tokens/{model}/{corpus}.npy                    for a search that reads calibration windows
    cells/{model}/{chain}/search/{search}          for a search that needs another search first

OUTPUTS:

    cells/{model}/{chain}/search/{search}.json     or .npz, if the search returns arrays
"""

for method in plan.searches.rules():

    rule:
        name:
            f"search_{method.name}"
        input:
            parent=plan.parent,
            tokens=plan.calibration_files,
            validation=plan.validation_files,
            earlier=plan.searches.earlier,
        output:
            plan.searches.file(method),
        log:
            f"{plan.logs}/search/{{model}}/{{chain}}/{{search}}.log",
        benchmark:
            f"{plan.benchmarks}/search/{{model}}/{{chain}}/{{search}}.tsv"
        wildcard_constraints:
            search=plan.searches.names_of(method),
        conda:
            plan.env_file(method.env)
        threads: plan.threads
        resources:
            **plan.resources.compression(),
        params:
            job_spec=plan.searches.job_spec,
        message:
            "Searching {wildcards.model}, {wildcards.chain}: {wildcards.search}"
        script:
            "../scripts/search.py"
