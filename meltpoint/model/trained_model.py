"""The base checkpoint that the workflow trains."""

from pathlib import Path

from meltpoint.demo.train import train as train_demo
from meltpoint.demo.training_settings import TrainingSettings
from meltpoint.files import whole_folder
from meltpoint.model.base_models import verify, write_description


def train(settings: TrainingSettings, target: Path) -> None:
    """Trains the demo model and writes its checkpoint, with the results of the training in it."""
    with whole_folder(target) as folder:
        reached = train_demo(folder, settings)
        # Left out because times differ, while equal settings must give equal bytes.
        reached.pop("seconds", None)
        write_description(folder, verify(folder), reached=reached)
