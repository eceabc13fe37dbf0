"""Where does a language model break under compression? From a study to its tables and figures."""

from pathlib import Path

from snakemake.utils import min_version

from meltpoint.errors import MeltpointError
from meltpoint.workflow.garbage import collect_rarely
from meltpoint.workflow.plan import Plan

collect_rarely()
min_version("9.14")
HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
# The default applies only without another study, as Snakemake would merge the keys of both.
if not workflow.overwrite_configfiles:

    configfile: HERE / "config.yaml"


try:
    plan = Plan(config, workflow.configfiles, HERE, workflow.is_main_process)
except MeltpointError as error:
    sys.exit(f"Error: {error}")


wildcard_constraints:
    model=plan.names("models"),
    corpus=plan.names("corpora"),
    chain=r"[^/:]+",


include: "rules/run.smk"
include: "rules/models.smk"
include: "rules/tokens.smk"
include: "rules/search.smk"
include: "rules/compress.smk"
include: "rules/evaluate.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/bundle.smk"
include: "rules/published.smk"


rule all:
    default_target: True
    input:
        lambda _: plan.all_targets(workflow),
    message:
        "Everything of the study"
