"""
Tables of a sweep's cells, and the analysis of a parameter search.

REQUIRED INPUTS:

    cells/{model}/{chain}/{evaluation}.json
    cells/{model}/{chain}/{evaluation}.*   files for paired statistics, if rows are compared
    tokens/{model}/{corpus}.ends.npy

OUTPUTS:

    tables/{table}.{csv,md,tex}
    search/*                    for a study with a parameter search, with the published study's names
"""


rule table:
    input:
        cells=lambda w: plan.cells_of("tables", w.table),
        kept=lambda w: plan.kept_of("tables", w.table),
    output:
        csv=report(
            f"{plan.results}/tables/{{table}}.csv",
            caption="../captions/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        markdown=f"{plan.results}/tables/{{table}}.md",
        latex=f"{plan.results}/tables/{{table}}.tex",
    log:
        f"{plan.logs}/tables/{{table}}.log",
    benchmark:
        f"{plan.benchmarks}/tables/{{table}}.tsv"
    wildcard_constraints:
        table=plan.names("tables"),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.table(w.table).json(),
    message:
        "Table {wildcards.table}"
    script:
        "../scripts/table.py"


if plan.parameter_search.section:

    rule parameter_search:
        input:
            cells=plan.parameter_search.cells,
            kept=plan.parameter_search.kept,
        output:
            plan.parameter_search.files,
        log:
            f"{plan.logs}/parameter_search.log",
        benchmark:
            f"{plan.benchmarks}/parameter_search.tsv"
        localrule: True
        conda:
            "../envs/analysis.yaml"
        resources:
            **plan.resources.analysis(),
        params:
            job_spec=lambda w: plan.job_specs.parameter_search().json(),
        message:
            "Analysis of the parameter search"
        script:
            "../scripts/parameter_search.py"
