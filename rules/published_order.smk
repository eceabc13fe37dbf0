"""
The published order study: its changes recomputed, the effect of order.

REQUIRED INPUTS:

    resources/published/opseq_{scores,published_changes}.csv, operation_order.yaml

OUTPUTS:

    results/published/order/changes.csv
    results/published/tables/order_{scores,effect,...}.{csv,md,tex}
    results/published/figures/order_{...}.{svg,png}
"""

from meltpoint.published.specs import study as published_study

operation_order = published_study("operation_order")


rule published_order:
    input:
        ancient(plan.published_tables(*operation_order.sources["changes"])),
    output:
        f"{plan.published}/order/changes.csv",
        expand(
            f"{plan.published}/tables/{{table}}.{{suffix}}",
            table=operation_order.tables,
            suffix=["csv", "md", "tex"],
        ),
        expand(
            f"{plan.published}/figures/{{figure}}.{{suffix}}",
            figure=operation_order.figures,
            suffix=["svg", "png"],
        ),
    log:
        f"{plan.published}/logs/order.log",
    benchmark:
        f"{plan.published}/benchmarks/order.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.operation_order.write",
            *operation_order.sources["changes"],
            texts=operation_order.texts(),
        ).json(),
    message:
        "The published order study"
    script:
        "../scripts/published_order.py"
