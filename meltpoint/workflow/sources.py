"""Local files and folders that a study's jobs read, for Snakemake's config."""

from meltpoint.study.data_files import data_folder
from meltpoint.study.resolved import Study
from meltpoint.study.source_files import local_models
from meltpoint.workflow.job_specs.study import JobSpecs


def source_paths(study: Study, specs: JobSpecs) -> dict[str, dict[str, str]]:
    """Paths of the study's local models, corpora, calibrations and data, by section and name."""
    config = study.config
    sections = {
        "models": local_models(study),
        "corpora": {name: specs.corpus_file(name) for name in config.corpora},
        "calibrations": {name: specs.windows_file(name) for name in config.calibrations},
        "evaluations": {name: data_folder(study, name) for name in config.evaluations},
    }
    return {
        section: {name: str(file) for name, file in files.items() if file}
        for section, files in sections.items()
    }
