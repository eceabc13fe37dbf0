"""llama.cpp, imported when it is first used, silent but for what it last complained of."""

import functools
import re
from collections import deque
from types import ModuleType

# GGML_LOG_LEVEL_ERROR of ggml.h.
ERROR = 4
# What llama.cpp says of a model that it has loaded, where it was built for an accelerator.
OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_complaints: deque[str] = deque(maxlen=2)
_offloaded: deque[int] = deque(maxlen=1)


@functools.cache
def llama_cpp() -> ModuleType:
    """The module, with llama.cpp's log caught and its backends ready."""
    import llama_cpp as module

    module.llama_log_set(_callback(module), None)
    module.llama_backend_init()
    return module


@functools.cache
def _callback(module):
    """Kept for as long as the process runs: llama.cpp calls it from its own threads."""

    @module.llama_log_callback
    def note(level: int, text: bytes, _) -> None:
        line = text.decode(errors="replace").strip(" =\n")
        if level == ERROR and line:
            _complaints.append(line.splitlines()[-1].strip())
        if found := OFFLOADED.search(line):
            _offloaded.append(int(found[1]))

    return note


def offloaded() -> int:
    """Number of layers of the last model that lie on an accelerator; the next call gives 0."""
    return _offloaded.pop() if _offloaded else 0


def complaint() -> str:
    """llama.cpp's last lines of error, the cause and what failed of it, which are forgotten then."""
    lines = list(_complaints)
    _complaints.clear()
    return "; ".join(lines) or "it does not say why"
