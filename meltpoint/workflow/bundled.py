"""What a study's record says, and the files of its bundle."""

from typing import TYPE_CHECKING

from meltpoint.verify.record import Record, Shown
from meltpoint.workflow import kept
from meltpoint.workflow.job_specs.documents import BundleSpec, RecordSpec, digest
from meltpoint.workflow.job_specs.frame_steps import steps_of
from meltpoint.workflow.staleness import code_hash

if TYPE_CHECKING:
    from meltpoint.workflow.plan import Plan


def record_of(plan: "Plan") -> Record:
    """The record of a plan's study."""
    study, config = plan.study, plan.config
    tables = {
        name: Shown(
            cells=study.cells(table.source, *table.evaluations),
            steps=steps_of(study, table.source),
            keys=table.model_dump(mode="json"),
        )
        for name, table in config.tables.items()
    }
    fits = {
        sweep: Shown(
            cells=study.fitted_cells(sweep),
            steps=steps_of(study, sweep),
            keys={"scores": study.fitted(sweep)},
        )
        for sweep in plan.curves()
    }
    held_out = {name: sweep.predict for name, sweep in config.sweeps.items() if sweep.predict}
    return Record(
        study=config.model_dump(mode="json", exclude_unset=True),
        cells=study.all_cells,
        tables=tables,
        transitions=fits,
        predictions={
            name: Shown(
                cells=study.perplexity_cells(name),
                steps=steps_of(study, name),
                keys=predict.model_dump(mode="json"),
            )
            for name, predict in held_out.items()
        },
        figures=list(config.figures),
    )


def record_spec(plan: "Plan") -> RecordSpec:
    """Spec of the record, which holds it."""
    record = record_of(plan).model_dump(mode="json")
    return RecordSpec(record=record, code=code_hash("scripts.record"))


def bundle_spec(plan: "Plan") -> BundleSpec:
    """Spec of the bundle."""
    specs = [plan.job_specs.report(plan.curves()), record_spec(plan)]
    return BundleSpec(code=code_hash("scripts.bundle"), inputs=digest(specs))


def files(plan: "Plan") -> list[str]:
    """The results that a bundle holds."""
    beside = kept.files(plan.study, plan.results, plan.study.all_cells)
    tables = [f"{plan.results}/tables/{name}" for name in plan.config.tables]
    figures = [f"{plan.results}/figures/{name}.png" for name in plan.config.figures]
    texts = [f"{table}.{ending}" for table in tables for ending in ("md", "tex")]
    return [*plan.targets(), *beside, *texts, *figures]


def env_files(plan: "Plan") -> list[str]:
    """The files of the environments that the rules ran in."""
    return sorted(map(str, plan.job_specs.envs.glob("*.yaml")))
