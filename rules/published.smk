"""
The published results, rebuilt from resources/published alone: `snakemake published`.

REQUIRED INPUTS:

    the inputs of published_phase_transitions.smk, published_order.smk and published_search.smk

OUTPUTS:

    the outputs of these files, and results/published/report.html of report.smk
"""


include: "published_phase_transitions.smk"
include: "published_order.smk"
include: "published_search.smk"


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
