"""Where does a language model break under compression? From a study to its tables and figures."""

from pathlib import Path

from snakemake.utils import min_version

from meltpoint.errors import MeltpointError
from meltpoint.workflow.plan import Plan

min_version("9.14")

# Read here and not merged: Snakemake would mix a study's keys with the default's.
if not workflow.overwrite_configfiles:

    configfile: Path(workflow.basedir, "config.yaml")


try:
    plan = Plan(config, workflow.overwrite_configfiles, Path(workflow.basedir))
except MeltpointError as error:
    sys.exit(f"Error: {error}")
if workflow.is_main_process:
    print(plan.summary(), file=sys.stderr)


wildcard_constraints:
    model=plan.names("models"),
    corpus=plan.names("corpora"),
    chain=r"[^/:]+",


include: "rules/models.smk"
include: "rules/tokens.smk"
include: "rules/search.smk"
include: "rules/compress.smk"
include: "rules/evaluate.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/published_order.smk"
include: "rules/published_search.smk"
include: "rules/published.smk"


rule all:
    default_target: True
    input:
        lambda _: plan.all_targets(workflow.deployment_settings.deployment_method),
    message:
        "Everything of the study"
