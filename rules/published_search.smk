"""
The published parameter search: its summary made again, and what is more than noise in it.

REQUIRED INPUTS:

    resources/published/hgsp_search.csv

OUTPUTS:

    results/published/search/{summary,Llama_all,...}.csv, *.json, report.{txt,md}
    results/published/tables/search_{...}.{csv,md,tex}
    results/published/figures/search_{...}.{svg,png}
"""

from meltpoint.published import search_contents


rule published_search:
    input:
        ancient(plan.published_tables(*search_contents.SOURCES)),
    output:
        f"{plan.published}/search/summary.csv",
        expand(f"{plan.published}/search/{{model}}_all.csv", model=search_contents.MODELS),
        expand(f"{plan.published}/search/{{name}}.json", name=search_contents.JSON),
        expand(f"{plan.published}/search/report.{{suffix}}", suffix=["txt", "md"]),
        expand(
            f"{plan.published}/tables/{{table}}.{{suffix}}",
            table=search_contents.TABLES,
            suffix=["csv", "md", "tex"],
        ),
        expand(
            f"{plan.published}/figures/{{figure}}.{{suffix}}",
            figure=search_contents.FIGURES,
            suffix=["svg", "png"],
        ),
    log:
        f"{plan.published}/logs/search.log",
    benchmark:
        f"{plan.published}/benchmarks/search.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        recipe=lambda w: plan.recipes.published(
            "published.search_results", *search_contents.SOURCES
        ),
    message:
        "The published parameter search"
    script:
        "../scripts/published_search.py"
