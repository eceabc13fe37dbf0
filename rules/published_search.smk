"""
The published parameter search: its summary recomputed, and the differences that exceed noise.

REQUIRED INPUTS:

    resources/published/hgsp_search.csv, parameter_search.yaml

OUTPUTS:

    results/published/search/{summary,Llama_all,...}.csv, *.json, report.{txt,md}
    results/published/tables/search_{...}.{csv,md,tex}
    results/published/figures/search_{...}.{svg,png}
"""

from meltpoint.published.specs import study as published_study

parameter_search = published_study("parameter_search")


rule published_search:
    input:
        ancient(plan.published_tables(*parameter_search.sources["runs"])),
    output:
        f"{plan.published}/search/summary.csv",
        expand(
            f"{plan.published}/search/{{name}}",
            name=[
                *("Llama_all.csv", "Mistral_all.csv", "Qwen_all.csv", "global_best_config.json"),
                *("method_comparison.json", "cross_model_comparison.json"),
            ],
        ),
        expand(f"{plan.published}/search/report.{{suffix}}", suffix=["txt", "md"]),
        expand(
            f"{plan.published}/tables/{{table}}.{{suffix}}",
            table=parameter_search.tables,
            suffix=["csv", "md", "tex"],
        ),
        expand(
            f"{plan.published}/figures/{{figure}}.{{suffix}}",
            figure=parameter_search.figures,
            suffix=["svg", "png"],
        ),
    log:
        f"{plan.published}/logs/search.log",
    benchmark:
        f"{plan.published}/benchmarks/search.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.published(
            "published.parameter_search.write",
            *parameter_search.sources["runs"],
            texts=parameter_search.texts(),
        ).json(),
    message:
        "The published parameter search"
    script:
        "../scripts/published_search.py"
