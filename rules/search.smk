"""
Searches: what a method finds once for all its levels. One rule per method that has a search.

REQUIRED INPUTS:

    results/models/{model}/ or cells/{model}/{chain}/checkpoint/
    tokens/{model}/{corpus}.npy                    for a search that looks at text
    cells/{model}/{chain}/search/{search}          for a search that starts from another

OUTPUTS:

    cells/{model}/{chain}/search/{search}.json     or .npz, where the search returns arrays
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
