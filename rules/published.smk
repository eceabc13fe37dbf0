"""
The published results, rebuilt from resources/published alone: `snakemake published`.

REQUIRED INPUTS:

    resources/published/mpt_*.csv

OUTPUTS:

    results/published/transitions*.csv
    results/published/tables/{table}.{csv,md,tex}
    results/published/figures/{figure}.{svg,png}

and what published_order.smk, published_search.smk and report.smk make.
"""

from meltpoint.published.phase_transitions import captions as transition_captions


rule published_transitions:
    input:
        ancient(plan.published_tables(*transition_captions.CURVES)),
    output:
        dense=f"{plan.published}/transitions.csv",
        sparse=f"{plan.published}/transitions_sparse.csv",
        other=f"{plan.published}/transitions_other.csv",
    log:
        f"{plan.published}/logs/transitions.log",
    benchmark:
        f"{plan.published}/benchmarks/transitions.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.phase_transitions.transitions", *transition_captions.CURVES
        ).json(),
    message:
        "Transition points of the published curves"
    script:
        "../scripts/published_transitions.py"


rule published_tables:
    input:
        ancient(plan.published_tables(*transition_captions.TABULATED)),
    output:
        expand(
            f"{plan.published}/tables/{{table}}.{{suffix}}",
            table=transition_captions.TABLES,
            suffix=["csv", "md", "tex"],
        ),
    log:
        f"{plan.published}/logs/tables.log",
    benchmark:
        f"{plan.published}/benchmarks/tables.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.phase_transitions.tables", *transition_captions.TABULATED
        ).json(),
    message:
        "Published tables 1 to 10"
    script:
        "../scripts/published_tables.py"


rule published_figures:
    input:
        tables=ancient(plan.published_tables(*transition_captions.DRAWN)),
        dense=rules.published_transitions.output.dense,
        other=rules.published_transitions.output.other,
    output:
        expand(
            f"{plan.published}/figures/{{figure}}.{{suffix}}",
            figure=transition_captions.FIGURES,
            suffix=["svg", "png"],
        ),
    log:
        f"{plan.published}/logs/figures.log",
    benchmark:
        f"{plan.published}/benchmarks/figures.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.phase_transitions.figures", *transition_captions.DRAWN
        ).json(),
    message:
        "Published figures"
    script:
        "../scripts/published_figures.py"


rule published:
    input:
        rules.published_transitions.output,
        rules.published_tables.output,
        rules.published_figures.output,
        rules.published_order.output,
        rules.published_search.output,
        rules.published_page.output,
    message:
        "All of the published results"
