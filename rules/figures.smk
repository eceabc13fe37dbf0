"""
Transition points and figures of a sweep's cells.

REQUIRED INPUTS:

    cells/{model}/{chain}/{evaluation}.json
    cells/{model}/{chain}/{evaluation}.*   files for paired statistics, if chains are compared
    tokens/{model}/{corpus}.ends.npy

OUTPUTS:

    transitions/{sweep}.csv
    transitions/{sweep}.predictions.csv   if the study holds levels out
    figures/{figure}.{svg,png}
"""


rule transitions:
    input:
        cells=lambda w: plan.fitted_cells_of(w.sweep),
        kept=lambda w: plan.kept_of("sweeps", w.sweep),
    output:
        report(
            f"{plan.results}/transitions/{{sweep}}.csv",
            caption="../captions/transitions.rst",
            category="Transition points",
            labels={"sweep": "{sweep}"},
        ),
    log:
        f"{plan.logs}/transitions/{{sweep}}.log",
    benchmark:
        f"{plan.benchmarks}/transitions/{{sweep}}.tsv"
    wildcard_constraints:
        sweep=plan.names("sweeps"),
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.transitions(w.sweep).json(),
    message:
        "Transition points of {wildcards.sweep}"
    script:
        "../scripts/transitions.py"


rule predictions:
    input:
        cells=lambda w: plan.perplexity_cells_of(w.sweep),
    output:
        report(
            f"{plan.results}/transitions/{{sweep}}.predictions.csv",
            caption="../captions/predictions.rst",
            category="Transition points",
            labels={"sweep": "{sweep}, predicted"},
        ),
    log:
        f"{plan.logs}/transitions/{{sweep}}.predictions.log",
    benchmark:
        f"{plan.benchmarks}/transitions/{{sweep}}.predictions.tsv"
    wildcard_constraints:
        sweep=plan.names("sweeps"),
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.predictions(w.sweep).json(),
    message:
        "Predictions of {wildcards.sweep}"
    script:
        "../scripts/predictions.py"


rule figure:
    input:
        cells=lambda w: plan.cells_of("figures", w.figure),
        kept=lambda w: plan.kept_of("figures", w.figure),
        transitions=lambda w: plan.transitions_of(w.figure),
    output:
        svg=report(
            f"{plan.results}/figures/{{figure}}.svg",
            caption="../captions/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png=f"{plan.results}/figures/{{figure}}.png",
    log:
        f"{plan.logs}/figures/{{figure}}.log",
    benchmark:
        f"{plan.benchmarks}/figures/{{figure}}.tsv"
    wildcard_constraints:
        figure=plan.names("figures"),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: plan.job_specs.figure(w.figure).json(),
    message:
        "Figure {wildcards.figure}"
    script:
        "../scripts/figure.py"
