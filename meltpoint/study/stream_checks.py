"""Checks that a study's chains can be streamed: some engines only run whole models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meltpoint import methods
from meltpoint.errors import MeltpointError
from meltpoint.evaluations import engines, kind_of

if TYPE_CHECKING:
    from meltpoint.study.resolved import Study


def check_stream(study: Study) -> None:
    """Raises MeltpointError if `compute.stream` is true and the engine of a chain cannot stream."""
    if study.config.compute.stream is not True:
        return
    for _, chain, evaluation in study.all_cells:
        kind = kind_of(study.config.evaluations[evaluation])
        steps = study.steps(chain)
        env = methods.find(steps[-1].method).evaluation_env if steps else "torch"
        engine = engines.planned(env)
        if kind.opens_engine and not engine.streams:
            raise MeltpointError(
                f"compute.stream: true is not possible for {chain}, as {engine.label} holds "
                "whole models in memory: set it to auto"
            )
