"""The attention implementation that computes what a model's config asks for.

transformers uses PyTorch's scaled dot product attention for every architecture that allows it. That
implementation has no cap on the scores, which Gemma 2 asks for, and ignores it without a warning.
"""

import inspect
import sys

from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

# Only eager attention adds BLOOM's alibi.
EAGER = {"bloom"}


def needs_eager(model: PreTrainedModel) -> bool:
    """True for a model that runs on PyTorch's attention but asks for something it leaves out."""
    if model.config.get_text_config()._attn_implementation != "sdpa":
        return False
    return model.config.model_type in EAGER or any(map(asks_for_more, model.modules()))


def asks_for_more(module: nn.Module) -> bool:
    """True for a module with a value for an argument that eager attention has and PyTorch's lacks.

    The module's attribute contains the name of the argument: `attn_logit_softcapping` is for `softcap`.
    """
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if eager is None or "attention" not in type(module).__name__.lower():
        return False
    known = {"module", *inspect.signature(sdpa_attention_forward).parameters}
    extra = [name for name in inspect.signature(eager).parameters if name not in known]
    return any(name in key and value for key, value in vars(module).items() for name in extra)
