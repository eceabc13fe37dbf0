"""The training loop: the Trainer of transformers, changed to save and read trained parameters only."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from meltpoint.compute import Compute
from meltpoint.methods._lora_examples import Examples, collate
from meltpoint.methods._lora_settings import Settings
from meltpoint.model.next_tokens import NO_TOKEN, next_token_losses

STATE, WHOLE, SECONDS = "trained.safetensors", "whole", "seconds.json"
LOSSES = {"loss": "loss", "eval_loss": "loss on the validation text"}
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class Training(Trainer):
    """A training of some of a model's parameters, by name; only whole states are resumed."""

    def __init__(self, trained: Mapping[str, nn.Parameter], **options: object) -> None:
        super().__init__(compute_loss_func=mean_loss, data_collator=collate, **options)
        self.trained = trained

    def _get_train_sampler(self, *_: object) -> torch.utils.data.Sampler:
        # The data set has the order of training already.
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: p.data.contiguous() for name, p in self.trained.items()}, folder / STATE)

    def _save_checkpoint(self, *arguments: object) -> None:
        super()._save_checkpoint(*arguments)
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        (folder / WHOLE).touch()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: object = None) -> None:
        self._read(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        self._read(Path(self.state.best_model_checkpoint))

    @torch.no_grad()
    def _read(self, folder: Path) -> None:
        for name, tensor in load_file(folder / STATE).items():
            self.trained[name].copy_(tensor)


def mean_loss(
    outputs: Mapping, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Mean cross-entropy of the labels that count, over all windows of the step.

    labels: int64 [windows, tokens].
    """
    losses = next_token_losses(outputs["logits"], labels, "sum")
    return losses / (
        labels[:, 1:].ne(NO_TOKEN).sum() if num_items_in_batch is None else num_items_in_batch
    )


class Progress(TrainerCallback):
    """A bar on a terminal, and lines in the log: step, loss, time left. Counts the seconds too."""

    def __init__(self, folder: Path) -> None:
        self.file, self.began, self.bar = folder / SECONDS, time.monotonic(), None
        self.before = json.loads(self.file.read_text()) if self.file.exists() else 0.0

    @property
    def seconds(self) -> float:
        """Seconds of the training, those before it was killed too."""
        return self.before + time.monotonic() - self.began

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Opens the bar."""
        self.first = state.global_step
        self.bar = tqdm(
            total=state.max_steps, initial=self.first, desc="lora", leave=False, disable=None
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Moves the bar."""
        self.bar.update()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Writes a line."""
        done, steps = state.global_step - self.first, state.max_steps
        left = (steps - state.global_step) * (time.monotonic() - self.began) / max(done, 1)
        for key, name in LOSSES.items():
            if key in (logs or {}):
                loss = float(logs[key])
                self.bar.set_postfix_str(f"{name} {loss:.3f}")
                line = "lora: step %d of %d, %s %.4f, %d s left"
                logging.info(line, state.global_step, steps, name, loss, left)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Notes the seconds so far, for the case that the job is killed."""
        self.file.write_text(json.dumps(self.seconds))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Closes the bar."""
        self.bar.close()


def train(
    model: nn.Module,
    trained: Mapping[str, nn.Parameter],
    examples: Examples,
    validation: Examples | None,
    settings: Settings,
    compute: Compute,
    folder: Path,
) -> dict[str, object]:
    """Trains in place, from the last state in `folder` if there is one.

    Returns the losses, and the seconds: {"log": [...], "best_step", "steps", "seconds"}.
    """
    steps = len(examples) // settings.batch
    progress = Progress(folder)
    callbacks = [progress]
    if settings.patience:
        callbacks.append(EarlyStoppingCallback(settings.patience))
    training = Training(
        trained,
        model=model,
        args=arguments(settings, compute, folder, steps, validation is not None),
        train_dataset=examples,
        eval_dataset=validation,
        callbacks=callbacks,
    )
    training.remove_callback(PrinterCallback)
    training.train(resume_from_checkpoint=last_state(folder))
    state = training.state
    losses = [
        {k: entry[k] for k in ("step", "loss", "eval_loss", "learning_rate") if k in entry}
        for entry in state.log_history
        if "loss" in entry or "eval_loss" in entry
    ]
    chosen = state.best_global_step or state.global_step
    return {
        **{"log": losses, "chosen_step": chosen, "steps": state.global_step},
        "seconds": progress.seconds,
    }


def arguments(
    settings: Settings, compute: Compute, folder: Path, steps: int, validates: bool
) -> TrainingArguments:
    """The settings in the form of transformers."""
    every = settings.every or max(1, steps // 10)
    at_once = settings.windows_at_once
    device = compute.torch_device.type
    bfloat16 = settings.bfloat16 or compute.dtype == "bfloat16"
    found = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=at_once,
        per_device_eval_batch_size=at_once,
        gradient_accumulation_steps=settings.batch // at_once,
        learning_rate=settings.lr,
        lr_scheduler_type=SCHEDULES[settings.schedule],
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        adam_beta2=settings.beta2,
        seed=settings.seed,
        bf16=bfloat16,
        fp16=not bfloat16 and compute.dtype == "float16" and device == "cuda",
        gradient_checkpointing=settings.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        eval_strategy="steps" if validates else "no",
        eval_steps=every,
        load_best_model_at_end=validates,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        restore_callback_states_from_checkpoint=bool(settings.patience),
        logging_steps=every,
        label_names=["labels"],
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=device == "cpu",
        dataloader_pin_memory=False,
    )
    # One accelerator is used, even if there are several.
    found._n_gpu = min(1, found.n_gpu)
    return found


def last_state(folder: Path) -> str | None:
    """Path of the last state that was saved as a whole; None if there is none."""
    states = [file.parent for file in folder.glob(f"checkpoint-*/{WHOLE}")]
    return str(max(states, key=lambda path: int(path.name.split("-")[1]))) if states else None
