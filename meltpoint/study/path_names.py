"""Checks that names and chains of a study can be names of files, and that no two files collide."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from meltpoint.chain import DENSE, parse_chain, spell_chain
from meltpoint.errors import MeltpointError

if TYPE_CHECKING:
    from meltpoint.study.resolved import Study

# File systems allow names of 255 bytes; this leaves room for the longest additions on both sides.
LONGEST = 255 - len(".partial.01234567.") - len(".documents.characters.npy")
SECTIONS = ("models", "corpora", "evaluations", "sweeps", "tables", "figures")
# Endings of further files, by section. A corpus that is called `text.ends` would collide with the file
# of ends of a corpus `text`.
ENDINGS = {
    "corpora": (
        ".ends",
        *(".documents", ".documents.offsets", ".documents.characters"),
        *(".instructions", ".instructions.offsets", ".instructions.responses"),
    ),
    "sweeps": (".predictions",),
}
# Tables that every run writes.
COST = "cost"


def check_path_names(study: Study) -> None:
    """Raises MeltpointError, naming the key, for a name that no file can have or another file has."""
    _check_length("study", study.config.study)
    for section in SECTIONS:
        names = getattr(study.config, section)
        for name in names:
            _check_length(f"{section}.{name[:40]}", name)
        for name, ending in itertools.product(names, ENDINGS.get(section, ())):
            if name + ending in names:
                raise MeltpointError(
                    f"{section}.{name}{ending}: a file of {name} has this name: take another"
                )
    if COST in study.config.tables:
        raise MeltpointError(
            f"tables.{COST}: each run writes what its jobs have cost to tables/{COST}.csv: give the "
            "table another name"
        )
    for group in study.groups:
        key = "sweeps" if group in study.config.sweeps else "chains"
        for chain in study.chains(group):
            _check_chain(f"{key}.{group}", chain)


def _check_length(key: str, name: str) -> None:
    if len(name) > LONGEST:
        raise MeltpointError(
            f"{key}: the name has {len(name)} characters, which is too long for a file: take at most "
            f"{LONGEST}"
        )


def _check_chain(key: str, chain: str) -> None:
    """Raises MeltpointError for a chain that is too long for a folder's name, or ambiguous there."""
    if len(chain) > LONGEST:
        raise MeltpointError(
            f"{key}: the chain {chain[:60]}... names a folder and has {len(chain)} characters, more "
            f"than {LONGEST}: leave out a step or settings, or set samples, length and seed in a "
            "calibration of a short name"
        )
    if chain != DENSE and not _is_read(chain):
        raise MeltpointError(
            f"{key}: {chain} cannot be a folder's name: values are of letters, digits and _ . - alone, "
            "and numbers are below 1e16"
        )


def _is_read(chain: str) -> bool:
    try:
        return spell_chain(parse_chain(chain)) == chain
    except MeltpointError:
        return False
