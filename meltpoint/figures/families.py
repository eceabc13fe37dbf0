"""Families: every method at equal compression, by family, with the best and the median of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.analysis import pair_checks, references
from meltpoint.analysis.output_keys import COMPRESSIONS, Compressions
from meltpoint.errors import MeltpointError
from meltpoint.figures.panels import TALLEST
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import matplotlib as mpl
from meltpoint.lazy_import import numpy as np
from meltpoint.lazy_import import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

# Inches of the axis and the legend; standard errors of an interval.
FRAME, INTERVAL = 0.9, 1.96
# Words for what is removed, by what is equal.
OF = {"removed": "weights or bits", "bytes": "bytes"}


class Spec(FigureSpec):
    """A row for each method, by family, with a panel for each compression.

    A method stands with its mildest level that removes as much. Its interval is that of its paired
    difference to dense, 1.96 standard errors wide on each side; of several draws of the calibration,
    1.96 standard deviations over them. The dense value is a dashed line. A row without a dot is of a
    method that has no level that removes as much.
    """

    kind: Literal["families"] = Field(description="Kind of the figure.")
    equal: Literal["removed", "bytes"] = Field(
        "removed",
        description="What is equal: the fraction `removed` of the decoder's weights, or of 16 bits; or "
        "the fraction of its `bytes`, where zeros cost a mask of one bit a weight.",
    )
    compressions: Compressions = Field(
        COMPRESSIONS, description="Fractions that are removed, a panel for each."
    )

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return "by families at " + " and ".join(f"{each:g}" for each in self.compressions)


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the methods that labels name, the families, and that the rows are not too many."""
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))
    references.check_order(key, study, spec)
    pair_checks.check_families(key, study, spec)


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """A row for each model, a column for each compression."""
    return len(study.groups[spec.source].models), len(spec.compressions)


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel for each model and compression; rows are methods, the best of a family on top.

    Raises MeltpointError if no method is near to any of the compressions, or the rows are too many.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.quantities import quantity
    from meltpoint.figures.family_rows import DENSE, ROW, handles
    from meltpoint.figures.style import RC

    scores = scores_named(frame, spec.value)
    label, dense = quantity(scores), scores[scores["chain"] == "dense"]
    cells = select_cells(scores, spec, label.factor)
    models = list(cells["model"].unique())
    rows = {model: rows_of(cells[cells["model"] == model]) for model in models}
    heights = [len(rows[model]) for model in models]
    if ROW * sum(heights) + FRAME > TALLEST:
        raise MeltpointError(f"{spec.value} of {spec.source}: {sum(heights)} rows are too many")
    looks = dots_of()
    with mpl.rc_context(RC):
        size = spec.width * len(spec.compressions), ROW * sum(heights) + FRAME
        figure = Figure(size, layout="constrained")
        grid = figure.subplots(
            len(models), len(spec.compressions), squeeze=False, sharey="row", height_ratios=heights
        )
        for model, line in zip(models, grid, strict=True):
            own = cells[cells["model"] == model]
            value = dense.loc[dense["model"] == model, "value"] / label.factor
            for compression, ax in zip(spec.compressions, line, strict=True):
                at_one = own[own["compression"] == compression]
                draw_panel(ax, at_one, rows[model], value)
                title = f"{compression:g} of the {OF[spec.equal]} removed"
                ax.set_title(", ".join([*([model] * (len(models) > 1)), title]), fontsize=7.5)
        for ax in grid[-1]:
            ax.set_xlabel(str(label))
        signs = [*handles(reversed(looks.values())), Line2D([], [], **DENSE, label="dense")]
        figure.legend(handles=signs, loc="outside lower center", ncols=len(signs))
    return figure


def dots_of() -> dict:
    """Looks of the best, the median and the other methods of a family."""
    from meltpoint.figures.family_rows import Dots
    from meltpoint.figures.style import FAINT, INK, PALETTE

    return {
        "other": Dots("other methods", FAINT, size=3.4),
        "median": Dots("median of its family", "white", "o", 4.6, 1.1, INK),
        "best": Dots("best of its family", PALETTE[1], "o", 5),
    }


def select_cells(scores: pd.DataFrame, spec: Spec, factor: float) -> pd.DataFrame:
    """Cells by family and compression, with their `row`, `rank` and tooltip; draws are one row.

    A method may occur at several compressions. Raises MeltpointError if no method is near to any.
    """
    from meltpoint.analysis.families import at_compression, with_families
    from meltpoint.analysis.pairs import draws_together
    from meltpoint.analysis.rows import row_names

    cells = with_families(row_names(draws_together(scores, None), spec.labels))
    found = [
        with_ranks(at_compression(of_model, spec.equal, compression), spec.equal, compression)
        for _, of_model in cells.groupby("model", sort=False)
        for compression in spec.compressions
    ]
    found = pd.concat(found) if found else cells
    if found.empty:
        near = " or ".join(f"{each:g}" for each in spec.compressions)
        raise MeltpointError(
            f"{spec.value} of {spec.source}: no method that has a value removes {near} of the "
            f"{OF[spec.equal]}"
        )
    for column in ("value", "difference_stderr"):
        found[column] = found[column] / factor
    return found


def with_ranks(ranked: pd.DataFrame, equal: str, compression: float) -> pd.DataFrame:
    """The cells of a compression with columns for the figure: rank, row and tooltip.

    ranked: the cells, the best of each family first.
    """
    from meltpoint.analysis.levels import level_label
    from meltpoint.text import reading

    places = ranked.groupby("family").cumcount()
    sizes = ranked.groupby("family")["chain"].transform("size")
    rank = pd.Series("other", index=ranked.index, dtype=object)
    rank = rank.mask(places == sizes // 2, "median").mask(places == 0, "best")
    settings = ranked["row_settings"].map(lambda text: f", {text}" if text else "")
    method = ranked["row"] + settings
    tooltips = [
        f"{name} {level_label(level) if level else ''}\n{reading(value, error)}\n{share:.1%} removed"
        for name, level, value, error, share in zip(
            method, ranked["level"], ranked["value"], ranked["difference_stderr"],
            ranked[f"by_{equal}"], strict=True,
        )
    ]  # fmt: skip
    row = ranked["family"] + ": " + method
    return ranked.assign(compression=compression, rank=rank, row=row, tooltip=tooltips)


def rows_of(cells: pd.DataFrame) -> list[str]:
    """Names of the rows from the bottom: family by family, the best method of each on top.

    The first compression at which a method occurs decides its place. A row with the family's name is
    above its methods.
    """
    from meltpoint.analysis.families import family_key
    from meltpoint.figures.family_rows import with_heads

    once = cells.drop_duplicates("row")
    families = sorted(once["family"].unique(), key=family_key)
    ordered = [row for family in families for row in once.loc[once["family"] == family, "row"]]
    return with_heads(ordered[::-1])


def draw_panel(ax: Axes, cells: pd.DataFrame, rows: list[str], dense: pd.Series) -> None:
    """Draws the methods of one compression; `dense` are the values of dashed lines."""
    from meltpoint.figures.axes import scale_x
    from meltpoint.figures.family_rows import DENSE, draw_dots, draw_families
    from meltpoint.figures.style import FAINT

    finite = cells[np.isfinite(cells["value"])]
    if len(finite):
        scale_x(ax, pd.concat([finite["value"], dense]))
    error = INTERVAL * finite["difference_stderr"].fillna(0)
    places = finite["row"].map(rows.index)
    ax.errorbar(finite["value"], places, xerr=error, fmt="none", ecolor=FAINT, elinewidth=1)
    for rank, dots in dots_of().items():
        draw_dots(ax, cells[cells["rank"] == rank], rows, dots)
    for value in dense:
        ax.axvline(value, **DENSE, zorder=1)
    draw_families(ax, rows)
    ax.set_ylabel("")
