"""The attention implementation that computes what a model's config asks for.

transformers takes PyTorch's scaled dot product attention where an architecture allows it. That one has
no cap on the scores, which Gemma 2 asks for, and says nothing of it.
"""

import inspect
import sys

from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

# BLOOM has its alibi added by eager attention only.
EAGER = {"bloom"}


def needs_eager(model: PreTrainedModel) -> bool:
    """True for a model that asks for something which PyTorch's attention, that it has, leaves out."""
    if model.config.get_text_config()._attn_implementation != "sdpa":
        return False
    return model.config.model_type in EAGER or any(map(asks_for_more, model.modules()))


def asks_for_more(module: nn.Module) -> bool:
    """True for a module that holds a value which its eager attention takes and PyTorch's does not.

    A module names the value by the argument, with words around it: `attn_logit_softcapping` is the
    argument `softcap`.
    """
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if eager is None or "attention" not in type(module).__name__.lower():
        return False
    known = {"module", *inspect.signature(sdpa_attention_forward).parameters}
    extra = [name for name in inspect.signature(eager).parameters if name not in known]
    return any(name in key and value for key, value in vars(module).items() for name in extra)
