"""The style of all figures: colours and markers of methods, fonts, and reproducible files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's colours, which differ with every common colour blindness, and then tints of Paul
# Tol's. Yellow is left out as too light for lines, and black as the colour of everything but methods.
PALETTE = [
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
    *("#882255", "#44AA99", "#6F4C9B", "#7A6A2B"),
]
MARKERS = ["o", "s", "^", "D", "v", "p", "h", "P", "X", "8"]
# Fixed places in PALETTE and MARKERS for frequent methods, so that they look alike in all figures.
PLACES = {
    **{"wanda": 0, "magnitude": 1, "sparsegpt": 2, "ria": 3, "dsnot": 4, "admm": 5},
    **{"slicegpt": 2, "llm-pruner": 1, "flap": 0, "sleb": 3, "shortgpt": 4, "blockwise": 5},
    **{"svd-llm": 0, "asvd": 1},
}
INK, FAINT = "#222222", "#8A8A8A"
RC = {
    # This font comes with matplotlib, so that a figure is the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "ytick.minor.size": 1.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "savefig.dpi": 300,
    # Outlines rather than text: a paper's PDF must look the same if the font is missing.
    "svg.fonttype": "path",
    "svg.hashsalt": "meltpoint",
}


def looks(names: Iterable[str], colors: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each name: its usual ones, or the next free ones.

    colors: colours by name, which take precedence.
    """
    taken, look = set(), {}
    names = list(names)
    for name in sorted(names, key=lambda n: n.lower() not in PLACES):
        free = [i for i in range(len(PALETTE)) if i not in taken]
        usual = PLACES.get(name.lower())
        place = usual if usual in free else (free or [len(look) % len(PALETTE)])[0]
        taken.add(place)
        # After the last colour the first one is used again, with another marker.
        turn = 3 * (len(look) // len(PALETTE))
        look[name] = (colors.get(name, PALETTE[place]), MARKERS[(place + turn) % len(MARKERS)])
    return {name: look[name] for name in names}


def ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Names, each once: first those of `order` in its order, then the others as they come."""
    return sorted(dict.fromkeys(names), key=lambda n: order.index(n) if n in order else len(order))


def save(figure: Figure, paths: Iterable[Path]) -> None:
    """Writes a figure to files, in the formats of their suffixes; equal figures give equal bytes."""
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with mpl.rc_context(RC):
            figure.savefig(path, metadata=metadata)
