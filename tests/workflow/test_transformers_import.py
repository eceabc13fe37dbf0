"""What transformers imports for others, and our jobs do without."""

import subprocess
import sys

CODE = """
import sys
from meltpoint.workflow.transformers_import import import_transformers
import_transformers()
import meltpoint.evaluations.perplexity
unused = {"hqq", "torchao"} & set(sys.modules)
assert not unused, unused
from transformers.utils import is_hqq_available, is_torchao_available
import importlib.util
for name, found in (("hqq", is_hqq_available()), ("torchao", is_torchao_available())):
    assert found == bool(importlib.util.find_spec(name)), name
"""


def test_a_job_imports_neither_and_they_are_said_to_be_there_again():
    subprocess.run([sys.executable, "-c", CODE], check=True)
