"""What a job asks of the machine that it runs on, as methods and evaluations declare it."""

from pydantic import BaseModel, ConfigDict, Field


class Resources(BaseModel):
    """GPUs, memory and time of a job."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    gpu: int = Field(0, ge=0, description="Number of GPUs without which the job cannot run.")
    memory: float = Field(
        2.0,
        gt=0,
        description="Memory of a job, as a multiple of the model's bytes in the dtype. A method that "
        "works block by block and does not declare it asks for what a walk holds.",
    )
    disk: float = Field(
        1.0,
        ge=0,
        description="Disk that a compression fills while it runs, as a multiple of the model's bytes.",
    )
    minutes: int = Field(
        240, ge=1, description="Minutes after which a cluster may take a job for stuck."
    )
