"""LoRA: low-rank adapters of the decoder's linears are trained on a text and added to the weights.

A weight W [rows, columns] becomes ``W + (alpha / r) B A`` with A [r, columns] drawn at random and
B [rows, r] zero at first. AdamW minimises the mean cross-entropy of the next token with W fixed.
With `rank=0` there are no adapters, and the linears' weights are trained themselves. Biases,
norms, embeddings and head stay as they are.

Plain text is joined and cut into windows of `length` tokens. A set of instructions is read record
by record, cut at that length, and the loss is that of the response alone. `seed` draws the order
of the windows anew for each epoch. `validation` names a text whose loss chooses the best of the
saved states.

The results of earlier steps are kept. Pruned weights stay zero. If a linear has pruned weights, its
update is multiplied by the mask of the others in training too, so the merged weights are those that
were trained (`keep_zeros=false` leaves the masks out). Models of other shapes are trained in their
shapes, each factor of a low-rank step by itself. A quantised base is decoded and stays dense
numbers, and the cell says so. With `merge=false` the adapter is kept beside the quantised base, in
`adapter/`, and counts in all scores.

The presets are LLM-Pruner's script, SliceGPT's README and the defaults of LLaMA-Factory's web
page. The study of the order of operations used the last program; its own values are not
published.

Adapters are peft's and the loop is that of transformers. A training that was killed goes on from
its last saved state, and ends with the same bytes.

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen, "LoRA: Low-Rank Adaptation of Large Language
Models", ICLR 2022.
"""

from pathlib import Path

from meltpoint.lazy_import import LazyModule
from meltpoint.methods._lora_settings import Settings
from meltpoint.methods.contract import Context, Resources

__all__ = ["Settings"]

kind = "finetuning"
levels = ()
env = "torch"
libraries = ("peft",)
# Batches of 4 x 256 on a model of 135 million weights and 49,152 tokens took 7.4 times its weights.
resources = Resources(memory=8.0, minutes=1440)
updates_weights = True
resumes = True
quick_settings = {"steps": "4", "batch": "2", "lr": "0.01"}
run = LazyModule("meltpoint.methods._lora_run")


def compress(
    source: Path, target: Path, level: None, settings: Settings, context: Context
) -> dict[str, dict]:
    """Trains the checkpoint's model, and returns facts about its linears by name.

    Raises MeltpointError for a text, targets or memory that do not suffice.
    """
    return run.finetune(source, target, settings, context)
