"""What transformers imports for others, and our jobs do without."""

import json

from tests.support.fresh_process import run
from tests.support.tiny_models import save_model

CODE = """
import sys
from meltpoint.workflow.transformers_import import import_transformers
import_transformers()
import meltpoint.evaluations.perplexity
import transformers.generation.utils
unused = {"hqq", "torchao", "sklearn"} & set(sys.modules)
assert not unused, unused
from transformers.utils import is_hqq_available, is_torchao_available
import importlib.util
for name, found in (("hqq", is_hqq_available()), ("torchao", is_torchao_available())):
    assert found == bool(importlib.util.find_spec(name)), name
"""

LOSSES = """
import json, sys
from pathlib import Path
if sys.argv[1] == "deferred":
    from meltpoint.workflow.transformers_import import import_transformers
    import_transformers()
import numpy as np
from meltpoint.compute import Compute
from meltpoint.evaluations.engines import open_engine
windows, found = np.arange(48, dtype=np.int32).reshape(2, 24), []
for folder in sys.argv[2:]:
    with open_engine(Path(folder), Compute(device="cpu")) as engine:
        found.append(engine.nll(windows).tolist())
modules = sorted(sys.modules)
# The library's own loading, saving and writing of text import more; they must work, too.
from transformers import AutoModelForCausalLM
import torch
for folder in sys.argv[2:]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(folder + "-saved")
    ids = torch.arange(8)[None]
    found.append(float(model(ids, labels=ids).loss))
    found.append(model.generate(ids, max_new_tokens=4, do_sample=False).tolist())
print(json.dumps([found, modules]))
"""

USED_LATER = """
import sys
from meltpoint.workflow.transformers_import import StandIn, import_transformers
import_transformers()
assert not [name for name, module in sys.modules.items() if isinstance(module, StandIn)]
import torch
from transformers.distributed import sharding_utils
from transformers.loss import loss_for_object_detection
tensor = torch.zeros(2)
assert not isinstance(tensor, sharding_utils.DTensor)
assert "torch.distributed.tensor" not in sys.modules
cost = [[4.0, 1.0], [2.0, 3.0]]
rows, columns = loss_for_object_detection.linear_sum_assignment(cost)
assert columns.tolist() == [1, 0]
from scipy.optimize import linear_sum_assignment
assert callable(linear_sum_assignment)
import torch.distributed.tensor
from torch.distributed.tensor import DTensor
assert isinstance(DTensor, type)
assert not isinstance(tensor, sharding_utils.DTensor)
assert issubclass(DTensor, sharding_utils.DTensor)
"""

LISTED = """
import builtins, json, sys
from collections import Counter
read, plain_open = Counter(), builtins.open
def counting(file, *arguments, **options):
    read[str(file)] += "transformers/models/" in str(file)
    return plain_open(file, *arguments, **options)
builtins.open = counting
if sys.argv[1] == "deferred":
    from meltpoint.workflow.transformers_import import import_transformers
    import_transformers()
import transformers, transformers.models
again = sum(count > 1 for count in read.values())
print(json.dumps([again, sorted(dir(transformers.models))]))
"""

OTHER_SUBMODULE = """
import sys
from meltpoint.workflow.transformers_import import deferred
import torch
with deferred("torch.distributed.tensor"):
    from torch.distributed.tensor import Shard
    from torch.distributed.tensor._dtensor_spec import DTensorSpec
assert "torch.distributed.tensor" not in sys.modules
assert Shard(1).dim == 1
assert isinstance(DTensorSpec.resolve(), type)
"""


def test_a_job_imports_neither_and_they_are_said_to_be_there_again():
    run(CODE)


def test_a_model_computes_the_same_whatever_is_deferred(tmp_path):
    folders = [str(save_model(tmp_path / name, name)) for name in ("llama", "opt", "gemma2")]
    plain, all_modules = json.loads(run(LOSSES, "plain", *folders))
    deferred, modules = json.loads(run(LOSSES, "deferred", *folders))
    assert deferred == plain
    assert len(modules) < len(all_modules)
    large = {"sympy", "scipy.optimize", "torch._dynamo", "torch.distributed.tensor"}
    assert large & set(modules) == set()


def test_the_list_of_models_is_made_once_and_is_whole():
    plain_reads, plain = json.loads(run(LISTED, "plain"))
    reads, ours = json.loads(run(LISTED, "deferred"))
    assert ours == plain
    # Only the folders of models that are imported. Where transformers itself reads no more,
    # `listed_once` can go.
    assert reads < 20
    assert plain_reads > 1000


def test_what_is_deferred_is_imported_when_it_is_used():
    run(USED_LATER)


def test_another_submodule_is_deferred_too_and_is_then_the_real_one():
    run(OTHER_SUBMODULE)
