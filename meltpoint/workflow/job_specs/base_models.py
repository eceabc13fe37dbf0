"""The job specs of base checkpoints, of each of their kinds."""

from meltpoint.checkpoints.index import WANTED
from meltpoint.hashing import HashCache
from meltpoint.study.model_sections import GgufModel, HubModel, LocalModel, PackageModel
from meltpoint.study.resolved import Study
from meltpoint.workflow.job_specs.documents import (
    DecodeSpec,
    FetchSpec,
    JobSpec,
    LinkSpec,
    PackageSpec,
    TrainSpec,
)
from meltpoint.workflow.staleness import code_hash


def spec(study: Study, name: str, hashes: HashCache, torch_env: str) -> JobSpec:
    """Spec of a base checkpoint: its source, and the hash of local files.

    torch_env: hash of the environment file that a trained model depends on.
    """
    model, dtype = study.config.models[name], study.config.compute.dtype
    if isinstance(model, LocalModel):
        files = hashes.folder(study.path(model.path), WANTED)
        return LinkSpec(files=files, code=code_hash("scripts.link_model"))
    if isinstance(model, HubModel):
        code = code_hash("scripts.fetch_model")
        return FetchSpec(hub=model.hub, revision=model.revision, code=code)
    if isinstance(model, GgufModel):
        file = hashes.file(study.path(model.gguf))
        return DecodeSpec(file=file, dtype=dtype, code=code_hash("scripts.decode_model"))
    if isinstance(model, PackageModel):
        code = code_hash("scripts.decode_package")
        facts = model.model_dump(exclude={"parameters"})
        return PackageSpec(**facts, dtype=dtype, code=code)
    from meltpoint.demo.text import version

    return TrainSpec(
        settings=model.train.model_dump(mode="json"),
        text=version(),
        code=code_hash("scripts.train_model"),
        env=torch_env,
    )
