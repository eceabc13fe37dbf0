"""The walk over the decoder blocks that every calibrated method shares.

The embeddings run once on the calibration windows. Then, block by block: the block's weights are
read, statistics of its linears' inputs are collected on a pass of the windows, and a second pass
makes the next block's inputs. One block's weights and one buffer of hidden states
[windows, tokens, hidden] are all that is held.
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

    `hidden` are its inputs [windows, tokens, hidden]; `dense_outputs`, of the same shape, what the
    whole dense model gives there, for a method that needs it. ``forward(batch, weights, inputs)`` runs
    the block on a slice of the windows, with `weights` in the place of those of the linears that it
    names; gradients reach them.

    A method may change `module` in place, its shapes too (`meltpoint.model.surgery`): what it holds
    afterwards is written. `memory` is the walk's: what a method puts there it finds again at the
    next block and in its `finish`. `parameters` are the numbers of the whole decoder's parameters,
    first of the dense model, then before the step. `decoder` are all of the decoder's blocks: those
    that the walk has not come to have the shapes of the model before the step, and no weights.
    `search` is what the method's search found, `smallest` are numbers that it noted, `gradients`
    are those that it names in `gradients`, by the linears' names.

    Where a method's statistics are of the dense model, `hidden` is None: the pass that collects them
    has made the next block's inputs. `compressed_inputs` [some windows, tokens, hidden] are then the
    block's inputs behind the compressed blocks, for a method that follows some windows.
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
        """Notes a number whose smallest value over all blocks the cells' provenance shall tell."""
        self.smallest[name] = min(value, self.smallest.get(name, value))

    def drop(self) -> None:
        """Leaves the block out of the new checkpoint: its inputs are the next block's."""
        self.dropped = True

    def replace_hidden(self, hidden: torch.Tensor) -> None:
        """Gives the block other inputs [windows, tokens, any width], say rotated ones."""
        self.hidden = hidden
        self.hidden_replaced(hidden)

    def same_input(self, statistics: dict[str, Statistics]) -> list[list[str]]:
        """The linears' names, grouped by the statistics that they share."""
        return group_by_identity({name: statistics[name] for name in self.linears})


class Walk:
    """A model on its way through a method: the skeleton, the files, the hidden states."""

    def __init__(self, reader: Reader, windows: torch.Tensor | None, compute: Compute) -> None:
        self.reader, self.windows, self.compute = reader, windows, compute
        self.model = empty_model.build(reader.folder, compute.torch_dtype)
        self.tied = stored_layout.follow(reader, self.model)
        self.name, self.blocks = empty_model.decoder_blocks(self.model)
        empty_model.move_buffers(self.model, compute.torch_device)
        # While the weights are still tied: once they have been filled in they are not.
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
        """The parameters of one block, by their names in the checkpoint."""
        return empty_model.parameters_of(self.model, self.blocks[index], f"{self.name}.{index}")

    def other_names(self) -> list[str]:
        """The parameters outside the blocks: embeddings, final norm, head."""
        return self._others

    def outer_parameters(self) -> dict[str, torch.Tensor]:
        """The parameters outside the blocks as they are, tied ones under their first name."""
        names = self.model.named_parameters()
        return {name: p.data for name, p in names if not name.startswith(f"{self.name}.")}

    def replace_hidden(self, hidden: torch.Tensor) -> None:
        """Puts other hidden states in the place of the next block's inputs."""
        self.hidden = hidden

    def batches(self, count: int | None = None) -> Iterator[slice]:
        """Slices of the windows, or of `count` others, of as many as `compute.batch` says."""
        most, length = self.windows.shape
        count = most if count is None else count
        # The model is asked what a block is called with on a batch of the windows.
        size = min(self.compute.batch_size(length, AUTO_TOKENS), most)
        return (slice(i, min(i + size, count)) for i in range(0, count, size))

    @torch.no_grad()
    def embed(self) -> None:
        """Runs all but the blocks: notes the blocks' arguments, makes the first one's inputs."""
        for batch, first in self.first_inputs(self.batches()):
            check_hidden(self.model, self.reader.folder, first, self.windows[batch])
            if self.hidden is None:
                self.hidden = first.new_empty(len(self.windows), *first.shape[1:])
            self.hidden[batch] = first

    def note_calls(self) -> None:
        """Notes the blocks' arguments as `embed` does, and leaves the hidden states as they are."""
        with torch.no_grad():
            for _ in self.first_inputs(self.batches()):
                pass

    def first_inputs(self, batches: Iterable[slice]) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yields the first block's inputs, batch by batch; notes what each block is called with."""
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
        """Finds out what the blocks return: the first one runs on the first window."""
        with recorders(self.blocks) as (first, *_):
            self._run_to(first, body, slice(0, 1))
        names = self.names(0)
        empty_model.fill(self.model, self.reader.read(names))
        with running(self.model, self.reader.folder):
            ask(self.blocks, first.hidden, first.arguments)
        empty_model.empty(self.model, names)

    def _run_to(self, recorder: Recorder, body: nn.Module, batch: slice) -> None:
        """Runs the model up to a recorder, on a batch of the windows.

        What follows the blocks could not run: the final norm may have another width than the
        embeddings.
        """
        with running(self.model, self.reader.folder), stopping_at(recorder):
            body(self.windows[batch].to(self.compute.torch_device), use_cache=False)

    def _arguments(self, index: int, size: int) -> tuple[tuple, dict]:
        """What a block is called with beside its inputs, for a batch of so many windows."""
        if size not in self.calls[index]:
            with torch.no_grad():
                list(self.first_inputs([slice(0, size)]))
        return self.calls[index][size]

    def _names_in(self, body: nn.Module) -> list[str]:
        """The parameters outside the blocks that the body of the model holds or is tied to."""
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
        """A block's outputs on a batch of its inputs, or of others."""
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
        """The named statistics of a block's linears (of some, or all) over all windows.

        With `advance` the same pass replaces the hidden states by the block's outputs.
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
        """The names of a block's linears, those of one input together, as the block runs them."""
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
        """Replaces the hidden states by the block's outputs, in place where the width stays."""
        outputs = None
        for batch in self.batches():
            hidden = self.forward(index, batch)
            outputs = self._room(hidden) if outputs is None else outputs
            outputs[batch] = hidden
        self.hidden = outputs

    def _room(self, outputs: torch.Tensor) -> torch.Tensor:
        """Where a block's outputs go: the inputs themselves where the width stays."""
        if outputs.shape[-1] == self.hidden.shape[-1]:
            return self.hidden
        return outputs.new_empty(*self.hidden.shape[:-1], outputs.shape[-1])

    def advance_dense(self, index: int) -> None:
        """Takes the dense model's hidden states, kept beside the others, through a dense block."""
        if self.dense is None:
            self.dense = self.hidden.clone()
        for batch in self.batches():
            self.dense[batch] = self.forward(index, batch, inputs=self.dense)

    def outputs_on(self, index: int, hidden: torch.Tensor) -> torch.Tensor:
        """A block's outputs on other inputs [any number, tokens, hidden] of the windows' length."""
        batches = self.batches(len(hidden))
        return torch.cat([self.forward(index, batch, inputs=hidden) for batch in batches])
