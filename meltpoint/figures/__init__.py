"""The registry of figures: every file of this folder that defines a class `Spec` is a kind of figure.

A kind's file is named after the kind and declares, at module level:

``Spec``
    the keys of a study's figure of this kind, a `meltpoint.figures.spec.FigureSpec`. Its key ``kind``
    is a `Literal` of the file's name. Other keys of a figure are refused
``draw(frame, transitions, spec)``
    returns a `matplotlib.figure.Figure` of a tidy frame (`meltpoint.analysis.frame.COLUMNS`);
    ``transitions`` is the result of `meltpoint.transitions.fit.fit_curves`, or None
``check(key, spec, study)``
    optional: raises MeltpointError, naming ``{key}.{one of its keys}``, if the study lacks something
    that the figure names (`meltpoint.analysis.references`)
``panels(spec, study)``
    optional: numbers of rows and columns of its panels. Default: (1, 1)

The docstring's first line is the kind's line in the docs. The study reads these files where neither
matplotlib nor pandas need be installed: import them from `meltpoint.lazy_import`, or inside functions.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, get_args

from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import check_size
from meltpoint.figures.spec import FigureSpec
from meltpoint.text import did_you_mean, first_sentence

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

# The kind of a figure without the key `kind`. The Spec of this kind has the same default.
DEFAULT_KIND = "curves"
# Files are searched for this before they are imported, because most of this folder imports matplotlib.
DECLARES_KIND = re.compile(r"^class Spec\(", re.MULTILINE)


@dataclass(frozen=True)
class Kind:
    """A kind's file, as the rest of the library sees it."""

    name: str
    module: ModuleType

    @property
    def spec(self) -> type[FigureSpec]:
        """Class of the keys that a study may give to a figure of this kind."""
        return self.module.Spec

    @property
    def summary(self) -> str:
        """First sentence of the file's docstring."""
        return first_sentence(self.module.__doc__)

    def check(self, key: str, spec: FigureSpec, study: StudyView) -> None:
        """Checks what a figure names, and its size.

        Raises MeltpointError, naming the key, for a name that the study lacks or panels that are too
        large together.
        """
        if hasattr(self.module, "check"):
            self.module.check(key, spec, study)
        panels = getattr(self.module, "panels", lambda spec, study: (1, 1))
        check_size(key, spec.width, *panels(spec, study))


@cache
def registry() -> Mapping[str, Kind]:
    """All kinds of figure by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    folder = Path(__file__).parent
    sources = {name: (folder / f"{name}.py").read_text() for name in names if name[0] != "_"}
    return {name: _load(name) for name, text in sources.items() if DECLARES_KIND.search(text)}


def _load(name: str) -> Kind:
    kind = Kind(name, importlib.import_module(f"{__name__}.{name}"))
    declared = kind.spec.model_fields.get("kind")
    if declared is None or get_args(declared.annotation) != (name,):
        raise MeltpointError(f'figures/{name}.py: Spec declares its kind: Literal["{name}"]')
    if not hasattr(kind.module, "draw"):
        raise MeltpointError(f"figures/{name}.py: write draw(frame, transitions, spec)")
    return kind


def find(name: str) -> Kind:
    """The kind of that name; raises MeltpointError, naming the nearest, if there is none."""
    kinds = registry()
    if name not in kinds:
        raise MeltpointError(f"unknown kind of figure {name!r}{did_you_mean(name, kinds)}")
    return kinds[name]


def parse(spec: Mapping) -> FigureSpec:
    """The spec of a figure from its keys, of the default kind if they name none."""
    return find(spec.get("kind", DEFAULT_KIND)).spec(**spec)


def draw(frame: pd.DataFrame, transitions: pd.DataFrame | None, spec: FigureSpec) -> Figure:
    """Draws the figure of `spec` from a tidy frame and the fitted curves of its sweep.

    Raises MeltpointError for a frame with nothing to draw.
    """
    return find(spec.kind).module.draw(frame, transitions, spec)


def save(figure: Figure, paths: Iterable[Path]) -> None:
    """Writes a figure to files, in the formats of their suffixes; equal figures give equal bytes."""
    from meltpoint.figures import style

    style.save(figure, paths)
