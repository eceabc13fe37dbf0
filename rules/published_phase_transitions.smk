"""
The study of phase transitions, rebuilt from its published numbers.

REQUIRED INPUTS:

    resources/published/mpt_*.csv, phase_transitions.yaml

OUTPUTS:

    results/published/transitions*.csv
    results/published/tables/{table}.{csv,md,tex}
    results/published/figures/{figure}.{svg,png}
"""

from meltpoint.published.specs import study as published_study

phase_transitions = published_study("phase_transitions")


rule published_transitions:
    input:
        ancient(plan.published_tables(*phase_transitions.sources["transitions"])),
    output:
        dense=f"{plan.published}/transitions.csv",
        sparse=f"{plan.published}/transitions_sparse.csv",
        other=f"{plan.published}/transitions_other.csv",
    log:
        f"{plan.published}/logs/transitions.log",
    benchmark:
        f"{plan.published}/benchmarks/transitions.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.phase_transitions.transitions", *phase_transitions.sources["transitions"]
        ).json(),
    message:
        "Transition points of the published curves"
    script:
        "../scripts/published_transitions.py"


rule published_tables:
    input:
        ancient(plan.published_tables(*phase_transitions.sources["tables"])),
    output:
        expand(
            f"{plan.published}/tables/{{table}}.{{suffix}}",
            table=phase_transitions.tables,
            suffix=["csv", "md", "tex"],
        ),
    log:
        f"{plan.published}/logs/tables.log",
    benchmark:
        f"{plan.published}/benchmarks/tables.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.tables",
            *phase_transitions.sources["tables"],
            texts=phase_transitions.texts(),
        ).json(),
    message:
        "Published tables 1 to 10"
    script:
        "../scripts/published_tables.py"


rule published_figures:
    input:
        tables=ancient(plan.published_tables(*phase_transitions.sources["figures"])),
        dense=rules.published_transitions.output.dense,
        other=rules.published_transitions.output.other,
    output:
        expand(
            f"{plan.published}/figures/{{figure}}.{{suffix}}",
            figure=phase_transitions.figures,
            suffix=["svg", "png"],
        ),
    log:
        f"{plan.published}/logs/figures.log",
    benchmark:
        f"{plan.published}/benchmarks/figures.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.phase_transitions.figures", *phase_transitions.sources["figures"]
        ).json(),
    message:
        "Published figures"
    script:
        "../scripts/published_figures.py"
