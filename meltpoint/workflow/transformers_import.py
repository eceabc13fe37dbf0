"""transformers without what it imports for others.

Where hqq and torchao are installed transformers imports them with its first model, for a cache and a
format that nothing here uses: with torch's compiler behind them, a second and more of every job.
"""

import contextlib
import importlib
from collections.abc import Iterator
from unittest.mock import patch

UNUSED = ("is_hqq_available", "is_torchao_available")
# Which ask for them when they are imported.
ASKING = ("cache_utils", "quantizers.quantizer_torchao")


def import_transformers() -> None:
    """Imports what asks for them while they are said to be missing; later calls change nothing."""
    with missing():
        for name in ASKING:
            importlib.import_module(f"transformers.{name}")


@contextlib.contextmanager
def missing() -> Iterator[None]:
    from transformers import utils
    from transformers.utils import import_utils

    with contextlib.ExitStack() as stack:
        for module in (utils, import_utils):
            for name in UNUSED:
                stack.enter_context(patch.object(module, name, lambda *_: False))
        yield
