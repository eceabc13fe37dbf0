"""
The published parameter search: its summary made again, and what is more than noise in it.

REQUIRED INPUTS:

    resources/published/hgsp_search.csv

OUTPUTS:

    results/published/search/{summary,Llama_all,...}.csv, *.json, report.{txt,md}
    results/published/tables/search_{...}.{csv,md,tex}
    results/published/figures/search_{...}.{svg,png}
"""

from meltpoint.analysis import parameter_search
from meltpoint.published.parameter_search import captions as search_captions


rule published_search:
    input:
        ancient(plan.published_tables(*search_captions.SOURCES)),
    output:
        f"{plan.published}/search/summary.csv",
        expand(f"{plan.published}/search/{{model}}_all.csv", model=parameter_search.MODELS),
        expand(f"{plan.published}/search/{{name}}.json", name=search_captions.JSON),
        expand(f"{plan.published}/search/report.{{suffix}}", suffix=["txt", "md"]),
        expand(
            f"{plan.published}/tables/{{table}}.{{suffix}}",
            table=search_captions.TABLES,
            suffix=["csv", "md", "tex"],
        ),
        expand(
            f"{plan.published}/figures/{{figure}}.{{suffix}}",
            figure=search_captions.FIGURES,
            suffix=["svg", "png"],
        ),
    log:
        f"{plan.published}/logs/search.log",
    benchmark:
        f"{plan.published}/benchmarks/search.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.parameter_search.write", *search_captions.SOURCES
        ).json(),
    message:
        "The published parameter search"
    script:
        "../scripts/published_search.py"
