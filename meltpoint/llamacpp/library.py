"""llama.cpp, imported at its first use. Its log is silent; the last errors are kept for messages."""

import functools
import re
from collections import deque
from types import ModuleType

# GGML_LOG_LEVEL_ERROR of ggml.h.
ERROR = 4
# Line of the log about a loaded model, in a build for an accelerator.
OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_complaints: deque[str] = deque(maxlen=2)
_offloaded: deque[int] = deque(maxlen=1)


@functools.cache
def llama_cpp() -> ModuleType:
    """The module of llama.cpp, with its log redirected and its backends ready."""
    import llama_cpp as module

    module.llama_log_set(_callback(module), None)
    module.llama_backend_init()
    return module


@functools.cache
def _callback(module):
    """Function for llama.cpp's log. It must live as long as the process, whose threads call it."""

    @module.llama_log_callback
    def note(level: int, text: bytes, _) -> None:
        line = text.decode(errors="replace").strip(" =\n")
        if level == ERROR and line:
            _complaints.append(line.splitlines()[-1].strip())
        if found := OFFLOADED.search(line):
            _offloaded.append(int(found[1]))

    return note


def offloaded() -> int:
    """Number of layers of the last loaded model on an accelerator; the next call gives 0."""
    return _offloaded.pop() if _offloaded else 0


def complaint() -> str:
    """The last errors in llama.cpp's log, as one line; they are forgotten then."""
    lines = list(_complaints)
    _complaints.clear()
    return "; ".join(lines) or "it does not say why"
