"""
The published order study: its changes recomputed, the effect of order.

REQUIRED INPUTS:

    resources/published/opseq_{scores,published_changes}.csv

OUTPUTS:

    results/published/order/changes.csv
    results/published/tables/order_{scores,effect,...}.{csv,md,tex}
    results/published/figures/order_{...}.{svg,png}
"""

from meltpoint.published.operation_order import captions as order_captions


rule published_order:
    input:
        ancient(plan.published_tables(*order_captions.SOURCES)),
    output:
        f"{plan.published}/order/changes.csv",
        expand(
            f"{plan.published}/tables/{{table}}.{{suffix}}",
            table=order_captions.TITLES,
            suffix=["csv", "md", "tex"],
        ),
        expand(
            f"{plan.published}/figures/{{figure}}.{{suffix}}",
            figure=order_captions.CHANGES,
            suffix=["svg", "png"],
        ),
    log:
        f"{plan.published}/logs/order.log",
    benchmark:
        f"{plan.published}/benchmarks/order.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.operation_order.write", *order_captions.SOURCES
        ).json(),
    message:
        "The published order study"
    script:
        "../scripts/published_order.py"
