"""
Files to verify a study's results elsewhere: `snakemake bundle`, then `python -m meltpoint.verify`.

REQUIRED INPUTS:

    all files of a study, except for checkpoints and the dense models' hidden states

OUTPUTS:

    study.json        the inputs of tables and fits
    bundle.tar.gz     cells, kept arrays, tables, figures, page, versions and checksums
"""

from meltpoint.workflow import bundled


rule record:
    output:
        f"{plan.results}/study.json",
    log:
        f"{plan.logs}/record.log",
    benchmark:
        f"{plan.benchmarks}/record.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: bundled.record_spec(plan).json(),
    message:
        "Record of the study"
    script:
        "../scripts/record.py"


rule bundle:
    input:
        results=lambda w: bundled.files(plan),
        envs=lambda w: ancient(bundled.env_files(plan)),
    output:
        f"{plan.results}/bundle.tar.gz",
    log:
        f"{plan.logs}/bundle.log",
    benchmark:
        f"{plan.benchmarks}/bundle.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        **plan.resources.analysis(),
    params:
        job_spec=lambda w: bundled.bundle_spec(plan).json(),
    message:
        "Bundle of the study"
    script:
        "../scripts/bundle.py"
