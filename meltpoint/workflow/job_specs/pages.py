"""The job specs of report pages, and of what is made of published tables."""

from pathlib import Path

from meltpoint.data import published
from meltpoint.hashing import hash_file
from meltpoint.published import page as published_page
from meltpoint.report import study as study_page
from meltpoint.workflow.job_specs.documents import JobSpec, PublishedSpec, ReportSpec, digest
from meltpoint.workflow.job_specs.shown_code import code_over
from meltpoint.workflow.staleness import code_hash

# Where the template, the styles and the script of a page lie.
PAGE = Path(study_page.__file__).parent


class PageSpecs:
    """Job specs of pages: a part of `meltpoint.workflow.job_specs.study.JobSpecs`."""

    def published(self, module: str, *tables: str, texts: object = None) -> PublishedSpec:
        """Spec of what a module of ours ("published.order") makes of published tables and texts."""
        return PublishedSpec(
            files={name: hash_file(published.FOLDER / f"{name}.csv") for name in tables},
            texts=texts,
            code=code_hash(f"meltpoint.{module}"),
            env=self._env("analysis"),
        )

    def report(self, curves: list[str]) -> ReportSpec:
        """Spec of the study's page. curves: the sweeps whose fitted curves it shows."""
        inputs = [
            *(self.evaluation(*cell) for cell in self.study.all_cells),
            *map(self.transitions, curves),
            *map(self.predictions, study_page.predicted(self.config)),
            *map(self.table, self.config.tables),
            *map(self.figure, self.config.figures),
            *([self.parameter_search()] if self.config.parameter_search else []),
        ]
        return self._page(study_page.page(self.config, curves), *inputs)

    def published_report(self) -> ReportSpec:
        """Spec of the page of the published results."""
        return self._page(published_page.page())

    def _page(self, page: dict, *inputs: JobSpec) -> ReportSpec:
        return ReportSpec(
            page=page,
            assets={name: hash_file(PAGE / name) for name in ("page.html", "page.css", "page.js")},
            code=code_over(inputs, "scripts.report"),
            env=self._env("analysis"),
            inputs=digest(inputs),
        )
