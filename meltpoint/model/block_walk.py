"""The walk over the decoder blocks that every calibrated method shares.

The embeddings run once on the calibration windows. Each block is then read and takes two passes over
the windows: the first collects statistics of its linears' inputs, the second makes the next block's
inputs. In between the method compresses the block. The walk holds the weights of one block and one
buffer of hidden states [windows, tokens, hidden].
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, all_finite, overflow
from meltpoint.errors import MeltpointError
from meltpoint.model import empty_model, shaped, stored_layout
from meltpoint.model.activation_statistics import Collector, Statistics, group_by_identity
from meltpoint.model.as_linears import experts_of, sent_everything
from meltpoint.model.gradient_statistics import GradientStatistics
from meltpoint.model.running import (
    Recorder,
    ask,
    check_hidden,
    knows_returned,
    output_of,
    recorders,
    running,
    stopping_at,
)
from meltpoint.model.uncalled import collect_uncalled

AUTO_TOKENS = {"cpu": 2048, "cuda": 16384}


@dataclass
class Block:
    """A decoder block with its weights loaded, as a method sees it.

    `hidden` [windows, tokens, hidden] are its inputs. `dense_outputs`, of the same shape, are its
    outputs in the model before the step, for a method that `needs_dense_outputs`.
    ``forward(batch, weights, inputs)`` runs the block on a slice of the windows. `weights` replace
    those of the linears that they name, and gradients reach them; `inputs` replace `hidden`.

    A method may change `module` in place, its shapes too (`meltpoint.model.surgery`). The walk writes
    the module as the method leaves it. Values that a method puts into `memory` are still there at the
    next block and in its `finish`. `parameters` are two counts of the whole decoder's parameters: of
    the dense model, and of the model before the step. `decoder` are all of the decoder's blocks. Blocks
    that the walk has not reached have no weights, and the shapes of the model before the step.
    `search` is the result of the method's search. `smallest` holds the numbers of `note_smallest`.
    `gradients` are the statistics that the method names in its `gradients`, by the linears' names.

    A method with `dense_statistics` finds no `hidden`: the pass that collects the statistics replaces
    it with the next block's inputs. Its `compressed_inputs` [followed windows, tokens, hidden] are the
    outputs of the compressed blocks before this one, if it has `compressed_windows`.
    """

    index: int
    count: int
    module: nn.Module
    linears: dict[str, nn.Linear]
    hidden: torch.Tensor | None = None
    forward: Callable[..., torch.Tensor] | None = None
    batches: Callable[[], Iterator[slice]] | None = None
    dense_outputs: torch.Tensor | None = None
    hidden_replaced: Callable[[torch.Tensor], None] | None = None
    memory: dict = field(default_factory=dict)
    dropped: bool = False
    parameters: tuple[int, int] | None = None
    decoder: nn.ModuleList | None = None
    search: dict[str, Any] | None = None
    smallest: dict[str, float] = field(default_factory=dict)
    gradients: dict[str, GradientStatistics] = field(default_factory=dict)
    compressed_inputs: torch.Tensor | None = None

    def note_smallest(self, name: str, value: float) -> None:
        """Notes a number. The cells' provenance holds its smallest value over all blocks."""
        self.smallest[name] = min(value, self.smallest.get(name, value))

    def drop(self) -> None:
        """Leaves the block out of the new checkpoint; the next block gets the inputs of this one."""
        self.dropped = True

    def replace_hidden(self, hidden: torch.Tensor) -> None:
        """Replaces the block's inputs by others [windows, tokens, any width], such as rotated ones."""
        self.hidden = hidden
        self.hidden_replaced(hidden)

    def same_input(self, statistics: dict[str, Statistics]) -> list[list[str]]:
        """Names of the linears, one list for each input; linears of one input share `Statistics`."""
        return group_by_identity({name: statistics[name] for name in self.linears})


class Walk:
    """The state of a walk: the empty model, the reader of its files, and the hidden states.

    `hidden` [windows, tokens, hidden] are the current block's inputs, `dense`, of the same shape, the
    hidden states of the model before the step, `compressed` the `compressed_inputs` of `Block`.
    """

    def __init__(self, reader: Reader, windows: torch.Tensor | None, compute: Compute) -> None:
        self.reader, self.windows, self.compute = reader, windows, compute
        self.model = empty_model.build(reader.folder, compute.torch_dtype)
        self.tied = stored_layout.follow(reader, self.model)
        self.name, self.blocks = empty_model.decoder_blocks(self.model)
        empty_model.move_buffers(self.model, compute.torch_device)
        # The names are read now because weights that have been filled in are no longer tied.
        everything = empty_model.parameters_of(self.model, self.model, "")
        self._others = [name for name in everything if not name.startswith(f"{self.name}.")]
        self.others = {name: tuple(t.shape) for name, t in self.outer_parameters().items()}
        self.outer_norms = shaped.outer_norms(self.model, self.name)
        self.hidden: torch.Tensor | None = None
        self.dense: torch.Tensor | None = None
        # Experts that no calibration token was sent to, by the index of their block.
        self.unsent: dict[int, list[str]] = {}
        self.compressed: torch.Tensor | None = None
        self.calls: list[dict[int, tuple[tuple, dict]]] = [{} for _ in self.blocks]

    def names(self, index: int) -> list[str]:
        """Names, in the checkpoint, of the parameters of one block."""
        return empty_model.parameters_of(self.model, self.blocks[index], f"{self.name}.{index}")

    def other_names(self) -> list[str]:
        """Names of the parameters outside the blocks: embeddings, final norm, head."""
        return self._others

    def outer_parameters(self) -> dict[str, torch.Tensor]:
        """Tensors of the parameters outside the blocks, by name; tied ones by their first name."""
        names = self.model.named_parameters()
        return {name: p.data for name, p in names if not name.startswith(f"{self.name}.")}

    def replace_hidden(self, hidden: torch.Tensor) -> None:
        """Replaces the hidden states, which are the inputs of the current block."""
        self.hidden = hidden

    def batches(self, count: int | None = None) -> Iterator[slice]:
        """Slices of `compute.batch` windows each, which cover the windows or `count` other ones."""
        most, length = self.windows.shape
        count = most if count is None else count
        # A block's other arguments are noted on a batch of the windows, so no batch may hold more.
        size = min(self.compute.batch_size(length, AUTO_TOKENS), most)
        return (slice(i, min(i + size, count)) for i in range(0, count, size))

    @torch.no_grad()
    def embed(self) -> None:
        """Runs the embeddings: sets `hidden` and notes the blocks' other arguments."""
        for batch, first in self.first_inputs(self.batches()):
            check_hidden(self.model, self.reader.folder, first, self.windows[batch])
            if self.hidden is None:
                self.hidden = first.new_empty(len(self.windows), *first.shape[1:])
            self.hidden[batch] = first

    def note_calls(self) -> None:
        """Notes the blocks' arguments as `embed` does, but does not set `hidden`."""
        with torch.no_grad():
            for _ in self.first_inputs(self.batches()):
                pass

    def first_inputs(self, batches: Iterable[slice]) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yields each batch with the first block's inputs; notes every block's other arguments."""
        body = self.model.base_model
        names = self._names_in(body)
        empty_model.fill(self.model, self.reader.read(names))
        empty_model.tie(self.model, self.tied)
        if not knows_returned(self.blocks):
            self._ask(body)
        with recorders(self.blocks) as stand_ins:
            for batch in batches:
                self._run_to(stand_ins[-1], body, batch)
                for calls, recorder in zip(self.calls, stand_ins, strict=True):
                    calls.setdefault(batch.stop - batch.start, recorder.arguments)
                yield batch, stand_ins[0].hidden
        empty_model.empty(self.model, names)
        empty_model.tie(self.model, self.tied)

    def _ask(self, body: nn.Module) -> None:
        """Runs the first block on the first window, to learn what the blocks return."""
        with recorders(self.blocks) as (first, *_):
            self._run_to(first, body, slice(0, 1))
        names = self.names(0)
        empty_model.fill(self.model, self.reader.read(names))
        with running(self.model, self.reader.folder):
            ask(self.blocks, first.hidden, first.arguments)
        empty_model.empty(self.model, names)

    def _run_to(self, recorder: Recorder, body: nn.Module, batch: slice) -> None:
        """Runs the model on a batch of the windows and stops at a recorder.

        The final norm could not run: its width may differ from that of the embeddings.
        """
        with running(self.model, self.reader.folder), stopping_at(recorder):
            body(self.windows[batch].to(self.compute.torch_device), use_cache=False)

    def _arguments(self, index: int, size: int) -> tuple[tuple, dict]:
        """Arguments of a block besides its hidden states, for a batch of `size` windows."""
        if size not in self.calls[index]:
            with torch.no_grad():
                list(self.first_inputs([slice(0, size)]))
        return self.calls[index][size]

    def _names_in(self, body: nn.Module) -> list[str]:
        """Names of parameters outside the blocks that the model's body holds or is tied to."""
        path = next((n for n, m in self.model.named_modules() if m is body), "")
        prefix = f"{path}." if path else ""
        tied = {name: (name, *self.tied.get(name, ())) for name in self.other_names()}
        return [name for name, same in tied.items() if any(n.startswith(prefix) for n in same)]

    def forward(
        self,
        index: int,
        batch: slice,
        weights: dict | None = None,
        inputs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Outputs [batch, tokens, width] of a block on a slice of `inputs`, by default `hidden`."""
        args, kwargs = self._arguments(index, batch.stop - batch.start)
        args = ((self.hidden if inputs is None else inputs)[batch], *args)
        block = self.blocks[index]
        places = {f"{name}.weight": weight for name, weight in (weights or {}).items()}
        with running(self.model, self.reader.folder):
            if places:
                return output_of(functional_call(block, places, args, kwargs))
            return output_of(block(*args, **kwargs))

    def collect(
        self, index: int, names: tuple[str, ...], linears: dict | None = None, advance: bool = False
    ) -> dict[str, Statistics]:
        """The named statistics over all windows of `linears`, by default all linears of the block.

        With `advance` the pass also replaces `hidden` by the block's outputs. Raises MeltpointError
        where a statistic is not finite.
        """
        linears = linears or empty_model.linears(self.blocks[index])
        collector = Collector(linears, names, len(self.windows))
        earlier = f"block {index - 1}" if index else "the embeddings"
        place, experts = f"block {index}", experts_of(self.blocks[index])
        inputs = self.hidden.clone() if experts and advance else self.hidden
        advanced = None
        for batch in self.batches():
            with collector.forward_pass(batch.stop - batch.start):
                outputs = self.forward(index, batch, inputs=inputs)
            if not all_finite(outputs) and not all_finite(inputs[batch]):
                place = earlier
            if advance:
                advanced = self._room(outputs) if advanced is None else advanced
                advanced[batch] = outputs
        if advance:
            self.hidden = advanced
        collector.close()
        statistics = collector.statistics
        missing = {name: linear for name, linear in linears.items() if name not in statistics}
        if missing:
            statistics |= collect_uncalled(self, index, names, missing, inputs)
        if not all(s.finite() for s in statistics.values()):
            numbers = f"the inputs of block {index}"
            raise MeltpointError(overflow(numbers, place, self.compute.dtype))
        return statistics

    def input_groups(self, index: int) -> list[list[str]]:
        """Names of a block's linears, one list for each input, in the order in which they run."""
        linears = empty_model.linears(self.blocks[index])
        collector = Collector(linears, (), len(self.windows))
        batch = next(self.batches())
        with (
            sent_everything(self.blocks[index], linears),
            collector.forward_pass(batch.stop - batch.start),
        ):
            self.forward(index, batch)
        collector.close()
        return group_by_identity(collector.statistics)

    def advance(self, index: int) -> None:
        """Replaces `hidden` by the block's outputs, in place if the width is unchanged."""
        outputs = None
        for batch in self.batches():
            hidden = self.forward(index, batch)
            outputs = self._room(hidden) if outputs is None else outputs
            outputs[batch] = hidden
        self.hidden = outputs

    def _room(self, outputs: torch.Tensor) -> torch.Tensor:
        """The tensor to write a block's outputs to: `hidden` itself if the width is unchanged."""
        if outputs.shape[-1] == self.hidden.shape[-1]:
            return self.hidden
        return outputs.new_empty(*self.hidden.shape[:-1], outputs.shape[-1])

    def advance_dense(self, index: int) -> None:
        """Replaces `dense` by the outputs of a block that is not compressed yet."""
        if self.dense is None:
            self.dense = self.hidden.clone()
        for batch in self.batches():
            self.dense[batch] = self.forward(index, batch, inputs=self.dense)

    def outputs_on(self, index: int, hidden: torch.Tensor) -> torch.Tensor:
        """A block's outputs [n, tokens, width] on n other inputs [n, tokens, hidden]."""
        batches = self.batches(len(hidden))
        return torch.cat([self.forward(index, batch, inputs=hidden) for batch in batches])
