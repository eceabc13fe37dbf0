"""The dense model's hidden states in a file, and the distance of a model's predictions from its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations._fidelity import KL, MEANS
from meltpoint.evaluations.contract import Kept
from meltpoint.evaluations.engines._engine import Engine
from meltpoint.files import whole_file
from meltpoint.model.head import Head

# NumPy has no bfloat16: its bits are kept as whole numbers.
STORED = {torch.bfloat16: torch.int16}
# Number of log probabilities that are compared at once. On a CPU the few arrays of this size stay in
# the caches.
AUTO_COMPARED = {"cpu": 2**17, "cuda": 2**26}


def write_hidden(file: Path, engine: Engine, windows: np.ndarray) -> None:
    """Writes the inputs of a model's head, [windows x (length - 1), width] in its dtype.

    windows: int32 [windows, length]. The states are written part by part, and never all in memory.
    """
    count, length = windows.shape
    array, place = None, 0
    with whole_file(file) as partial:
        for part in engine.head_inputs(windows):
            stored = part.view(STORED.get(part.dtype, part.dtype)).cpu().numpy()
            if array is None:
                shape = (count * (length - 1), part.shape[-1])
                array = np.lib.format.open_memmap(partial, "w+", stored.dtype, shape)
            array[place : place + len(stored)] = stored
            place += len(stored)
        array.flush()


class Divergence:
    """Observes a model's log probabilities and compares them with the dense model's.

    hidden: the file that `write_hidden` wrote for the dense model. head: the dense model's head.
    windows: int32 [windows, length]. Raises MeltpointError if the file is of another number of tokens.
    """

    def __init__(self, hidden: Path, head: Head, windows: np.ndarray, compute: Compute) -> None:
        self._head, self._compute = head, compute
        self._hidden = read_hidden(hidden, windows)
        self._shape = windows.shape[0], windows.shape[1] - 1
        self._targets = torch.from_numpy(windows[:, 1:].astype(np.int64)).flatten()
        # Rows as `compare` returns them: divergence, its reverse, agreement, squared change.
        self._tokens = torch.zeros(4, len(self._targets))
        device = compute.torch_device.type
        most = AUTO_COMPARED.get(device, AUTO_COMPARED["cpu"])
        self._rows = max(1, most // head.vocabulary)

    @torch.no_grad()
    def __call__(self, places: slice, log_probabilities: torch.Tensor) -> None:
        """Compares the model's log probabilities, float32 [places, vocabulary]."""
        device = self._compute.torch_device
        log_q = log_probabilities.to(device)
        logits = self._head(self._read(places).to(device))
        targets = self._targets[places].to(device)
        parts = (each.split(self._rows) for each in (log_q, logits, targets))
        found = [compare(q, p.float(), y) for q, p, y in zip(*parts, strict=True)]
        self._tokens[:, places] = torch.cat(found, dim=1).cpu()

    def _read(self, places: slice) -> torch.Tensor:
        stored = torch.from_numpy(np.array(self._hidden[places]))
        dtype = self._compute.torch_dtype
        return stored.view(dtype) if dtype in STORED else stored

    def kept(self, scored: Callable[[np.ndarray], np.ndarray]) -> Kept:
        """Arrays to keep beside the cell: see `meltpoint.evaluations._fidelity.estimate`.

        scored: picks the tokens that count out of [windows, length - 1].
        """
        kl, *others = map(scored, self._tokens.view(4, *self._shape).numpy())
        return {KL: kl, MEANS: np.stack([each.mean(axis=1, dtype=np.float64) for each in others])}


def compare(log_q: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Comparison of predictions, token by token, float32 [4, tokens].

    log_q: log probabilities of the model, [tokens, vocabulary]. logits: logits of the dense model, of
    that shape; its probabilities are p. targets: the true tokens, int64 [tokens]. The rows are
    KL(p || q) and KL(q || p) in nats, 1 if both models agree on the most probable token and else 0, and
    the squared change of the true token's probability.
    """
    log_p = logits.log_softmax(-1)
    top = log_p.max(dim=-1, keepdim=True).indices
    agrees = (log_q.gather(1, top)[:, 0] == log_q.amax(dim=-1)).float()
    true_p, true_q = (each.gather(1, targets[:, None])[:, 0].exp() for each in (log_p, log_q))
    p, q = log_p.exp(), log_q.exp()
    difference = log_p.sub_(log_q)
    kl, reverse = p.mul_(difference).sum(-1), q.mul_(difference).sum(-1).neg_()
    return torch.stack([kl, reverse, agrees, (true_q - true_p).square()])


def read_hidden(file: Path, windows: np.ndarray) -> np.ndarray:
    """The hidden states in a file, [windows x (length - 1), width], mapped into memory.

    Raises MeltpointError if the file is broken or holds another number of states.
    """
    count = windows.shape[0] * (windows.shape[1] - 1)
    try:
        array = np.load(file, mmap_mode="r")
        if array.ndim == 2 and len(array) == count:
            return array
    except (OSError, ValueError, EOFError):
        pass
    raise MeltpointError(
        f"{file} does not hold the dense model's hidden states of {count} tokens: delete it and run "
        "again"
    )
