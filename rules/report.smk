"""
Report pages: every table, figure and cell in one file that needs no other.

REQUIRED INPUTS:

    cells/{model}/{chain}/{evaluation}.json, tables/{table}.csv, figures/{figure}.svg,
    transitions/{sweep}.csv    of a study
    results/published/         the outputs of the other published rules

OUTPUTS:

    report.html                of a study
    results/published/report.html
"""


rule report_page:
    input:
        **plan.shown(),
    output:
        report(
            plan.page,
            caption="../captions/page.rst",
            category="Pages",
            labels={"page": "study"},
        ),
    log:
        f"{plan.logs}/report.log",
    benchmark:
        f"{plan.benchmarks}/report.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.report(plan.curves()).json(),
    message:
        "Report of the study"
    script:
        "../scripts/report.py"


rule published_page:
    input:
        plan.shown_of_published(),
    output:
        report(
            f"{plan.published}/report.html",
            caption="../captions/page.rst",
            category="Pages",
            labels={"page": "published results"},
        ),
    log:
        f"{plan.published}/logs/report.log",
    benchmark:
        f"{plan.published}/benchmarks/report.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.published_report().json(),
    message:
        "Report of the published results"
    script:
        "../scripts/report.py"
