"""
Tables of a sweep's cells.

REQUIRED INPUTS:

    cells/{model}/{chain}/{evaluation}.json
    cells/{model}/{chain}/{evaluation}.*   where rows are compared: what is kept for paired statistics
    tokens/{model}/{corpus}.ends.npy

OUTPUTS:

    tables/{table}.{csv,md,tex}
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
