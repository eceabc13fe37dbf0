"""Pairs: every two methods at a level in a grid: the difference, and which is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from meltpoint.analysis import pair_checks, references
from meltpoint.analysis.levels import level_label
from meltpoint.analysis.output_keys import AtLevel
from meltpoint.figures.spec import FigureSpec
from meltpoint.lazy_import import matplotlib as mpl
from meltpoint.lazy_import import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from meltpoint.analysis.references import StudyView

# Inches of a cell's height, and of the names around the panels.
CELL_HEIGHT, NAMES = 0.24, 1.0
# Colours that are light enough for dark numbers, and that differ with every common colour blindness
# and in grey.
COLORS = {"better": "#A6CEE3", "worse": "#FDD0A2", "not told apart": "#F2F2F2"}
OPPOSITE = {"better": "worse", "worse": "better", "not told apart": "not told apart"}


class Spec(AtLevel, FigureSpec):
    """A grid of all pairs at a level, the best method first, with a panel for each model.

    A cell has the difference of the method in its row to the one in its column. Its colour is the
    verdict of the table of pairs: better, worse, or not told apart.
    """

    kind: Literal["pairs"] = Field(description="Kind of the figure.")
    digits: Annotated[int, Field(ge=0, le=8)] = Field(
        2, description="Digits after the decimal point of the differences."
    )

    @property
    def needs_samples(self) -> bool:
        """True: chains are compared window by window."""
        return True

    @property
    def axes(self) -> str:
        """Axes of the figure, as its default caption names them."""
        return "by pairs" if self.level is None else f"by pairs at {level_label(self.level)}"


def check(key: str, spec: Spec, study: StudyView) -> None:
    """Checks the level, the methods that labels name, and that chains can be paired."""
    references.check_names(f"{key}.labels", spec.labels, references.row_names_of(study, spec))
    pair_checks.check(key, study, spec)


def panels(spec: Spec, study: StudyView) -> tuple[int, int]:
    """One row, with a column for each model."""
    return 1, len(study.groups[spec.source].models)


def draw(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec: Spec) -> Figure:
    """A panel for each model: rows and columns are its methods, the best on top and left.

    Raises MeltpointError if fewer than two chains have a value, or if two cannot be compared.
    """
    from matplotlib.figure import Figure

    from meltpoint.analysis.pairs import compare, split_usable
    from meltpoint.analysis.quantities import quantity
    from meltpoint.analysis.samples import units_of
    from meltpoint.errors import at
    from meltpoint.figures.style import RC

    cells = split_usable(select_cells(frame, spec))[0]
    compared = at(f"{spec.value} of {spec.source}", compare, cells)
    models = list(compared["model"].unique())
    names = {model: best_first(cells[cells["model"] == model]) for model in models}
    most = max(map(len, names.values()))
    label, units = quantity(cells), units_of(cells["sample"])
    with mpl.rc_context(RC | {"axes.grid": False}):
        size = len(models) * spec.width, CELL_HEIGHT * most + NAMES + 0.5
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(1, len(models), squeeze=False)[0]
        for ax, model in zip(axes, models, strict=True):
            of_model = compared[compared["model"] == model]
            draw_panel(ax, of_model, names[model], spec, label.factor)
            ax.set_title(model if len(models) > 1 else "")
        draw_legend(figure, f"{label}: row less column; paired test over {units}, Holm, 5 %")
    return figure


def select_cells(frame: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """The cells of the level with a printed name for each chain; draws are one row."""
    from meltpoint.analysis import pairs
    from meltpoint.analysis.frame import scores_named
    from meltpoint.analysis.rows import row_names

    cells = pairs.at_level(scores_named(frame, spec.value), spec.level)
    cells = row_names(pairs.draws_together(cells, None), spec.labels)
    return cells.assign(printed=pairs.printed_names(cells))


def best_first(cells: pd.DataFrame) -> list[str]:
    """Names of a model's chains, the best first."""
    lower = bool((cells["better"] == "lower").all())
    return list(cells.sort_values("value", ascending=lower, kind="stable")["printed"])


def draw_panel(
    ax: Axes, compared: pd.DataFrame, names: list[str], spec: Spec, factor: float
) -> None:
    """Draws the pairs of one model, each twice: the difference, and its opposite."""
    from matplotlib.patches import Rectangle

    from meltpoint.figures.style import INK
    from meltpoint.figures.tooltips import note

    for pair in compared.to_dict("records"):
        for sign, first, second in ((1, "first", "second"), (-1, "second", "first")):
            x, y = names.index(pair[second]), names.index(pair[first])
            verdict = pair["verdict"] if sign == 1 else OPPOSITE[pair["verdict"]]
            ax.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=COLORS[verdict], lw=0))
            text = f"{sign * pair['difference'] / factor:+.{spec.digits}f}"
            ax.text(x, y, text, ha="center", va="center", fontsize=6, color=INK)
            note(ax, x, y, tooltip(pair, sign, verdict), radius=9)
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)


def tooltip(pair: dict, sign: int, verdict: str) -> str:
    """Tooltip of a cell: the two methods, the difference with its interval, and the p values."""
    first, second = (pair[key] for key in ("first", "second")[::sign])
    low, high = sorted(sign * pair[key] for key in ("low", "high"))
    return (
        f"{first}, {verdict}: {second}\n"
        f"difference {sign * pair['difference']:+.4g} ± {pair['stderr']:.2g}\n"
        f"95 % interval {low:+.4g} to {high:+.4g}\n"
        f"p {pair['p']:.2g}, corrected {pair['p_holm']:.2g}"
    )


def draw_legend(figure: Figure, title: str) -> None:
    """Draws the legend of the verdicts' colours below the panels."""
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=verdict) for verdict, color in COLORS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), title=title,
                  title_fontsize=7)  # fmt: skip
