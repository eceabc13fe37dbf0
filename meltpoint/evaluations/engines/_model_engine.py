"""A model of transformers whose weights are all in memory."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from meltpoint.compute import Compute
from meltpoint.evaluations.engines import _requests
from meltpoint.evaluations.engines._engine import AUTO_TOKENS, Engine, Observer
from meltpoint.evaluations.engines._model_decoding import ModelDecoding
from meltpoint.evaluations.engines._places import only_these, padded, stopping_before_head
from meltpoint.evaluations.engines._requests import Pass
from meltpoint.progress import track

# Largest number of logits of a batch, by device: in float32 16 MiB on a CPU, most of which fits in its
# caches (64 MiB took a seventh more time), and 1 GiB on a GPU.
AUTO_LOGITS = {"cpu": 2**22, "cuda": 2**28}


class ModelEngine(Engine):
    """Runs a model with all of its weights in memory; `load_seconds` is the time to load them."""

    name = "transformers"
    runs_transformers = True

    def __init__(self, model: PreTrainedModel, compute: Compute, load_seconds: float = 0.0) -> None:
        super().__init__(compute)
        self.model, self.load_seconds = model, load_seconds
        self.vocabulary, self.context_length = limits(model)

    def nll(self, windows: np.ndarray, observe: Observer | None = None) -> np.ndarray:
        """Negative log likelihood of each predicted token in nats: float32 [windows, length - 1]."""
        return token_nll(self.model, windows, self.compute, observe)

    @torch.no_grad()
    def head_inputs(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """Inputs of the head, batch by batch, [places, width] in the model's dtype."""
        for batch in window_batches(windows, self.vocabulary, self.compute):
            ids = torch.from_numpy(batch).long().to(self.compute.torch_device)
            with stopping_before_head(self.model) as found:
                self.model(input_ids=ids, use_cache=False)
            yield found[0][:, :-1].flatten(end_dim=1)

    @torch.no_grad()
    def logits(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """The logits of all windows batch by batch: float32 [batch, length, vocabulary]."""
        for batch in window_batches(windows, self.vocabulary, self.compute):
            ids = torch.from_numpy(batch).long().to(self.compute.torch_device)
            yield self.model(input_ids=ids, use_cache=False).logits.float()

    @contextlib.contextmanager
    def decoding(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        rows: int | None = None,
        hidden_states: bool = False,
    ) -> Iterator[ModelDecoding]:
        """Context of a decoding after some prompts; `rows` is ignored, as the cache grows.

        Raises MeltpointError for an empty prompt, and for one that does not fit the model's context.
        """
        _requests.check_prompts(prompts, max_new_tokens, self.context_length)
        yield ModelDecoding(self.model, prompts, self.compute.torch_device, hidden_states)

    def _rows(self, passes: list[Pass]) -> Iterator[tuple[Pass, torch.Tensor]]:
        for batch in pass_batches(passes, self.vocabulary, self.compute):
            ids, rows, columns = (x.to(self.compute.torch_device) for x in padded(batch))
            with only_these(self.model, rows, columns):
                logits = self.model(input_ids=ids, use_cache=False).logits[0].float()
            yield from zip(batch, logits.split([len(p.positions) for p in batch]), strict=True)

    def close(self) -> None:
        """Frees the model."""
        del self.model


def limits(model: PreTrainedModel) -> tuple[int, int | None]:
    """Numbers of a model's tokens and of its positions; None for positions without a limit."""
    config = model.config.get_text_config()
    return config.vocab_size, getattr(config, "max_position_embeddings", None)


@torch.no_grad()
def token_nll(
    model: PreTrainedModel, windows: np.ndarray, compute: Compute, observe: Observer | None = None
) -> np.ndarray:
    """Negative log likelihood of each predicted token in nats: float32 [windows, length - 1]."""
    vocabulary = model.config.get_text_config().vocab_size
    nll: list[torch.Tensor] = []
    for batch in track(window_batches(windows, vocabulary, compute), "perplexity"):
        ids = torch.from_numpy(batch).long().to(compute.torch_device)
        logits = model(input_ids=ids, use_cache=False).logits
        for row, tokens in zip(logits, ids, strict=True):
            place = len(nll) * (len(tokens) - 1)
            nll.append(losses(row[:-1].float(), tokens[1:], place, observe))
    return torch.stack(nll).cpu().numpy()


def window_batches(windows: np.ndarray, vocabulary: int, compute: Compute) -> list[np.ndarray]:
    """The windows in batches, int32 [batch, length], whose logits fit in `AUTO_LOGITS`."""
    budget = {device: count // vocabulary for device, count in AUTO_LOGITS.items()}
    size = compute.batch_size(windows.shape[1], budget)
    return np.split(windows, range(size, len(windows), size))


def losses(
    logits: torch.Tensor, targets: torch.Tensor, place: int, observe: Observer | None
) -> torch.Tensor:
    """Cross-entropy of each token in nats, float32 [tokens].

    logits: float32 [tokens, vocabulary]. targets: int64 [tokens]. place: number of the first token
    among all predicted ones, for the observer.
    """
    log_probabilities = F.log_softmax(logits, dim=-1)
    if observe is not None:
        observe(slice(place, place + len(targets)), log_probabilities)
    return F.nll_loss(log_probabilities, targets, reduction="none")


def pass_batches(passes: list[Pass], vocabulary: int, compute: Compute) -> list[list[Pass]]:
    """The passes in batches, limited by tokens and logits, or to `compute.batch` passes.

    On a CPU only passes of equal length are batched: batches save little time there, and padding moves
    the log likelihood of a long text by more than 1e-4.
    """
    lengths = [len(each) for each in passes]
    if compute.batch != "auto":
        numbers = _requests.batches(lengths, most=compute.batch)
    else:
        device = compute.torch_device.type
        tokens, logits = (table.get(device, table["cpu"]) for table in (AUTO_TOKENS, AUTO_LOGITS))
        rows = [len(each.positions) for each in passes]
        numbers = _requests.batches(
            lengths, tokens, rows=rows, most_rows=logits // vocabulary, padding=device != "cpu"
        )
    return [[passes[i] for i in batch] for batch in numbers]
