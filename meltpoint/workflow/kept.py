"""The files that paired statistics of a study's cells are made of."""

from collections.abc import Iterable

from meltpoint import evaluations
from meltpoint.study.resolved import Cell, Study


def files(study: Study, results: str, cells: Iterable[Cell]) -> list[str]:
    """Paths of what is kept beside cells, and of where the tokens of their corpora end in the text.

    results: the study's folder. A kind of evaluation that keeps nothing has no files.
    """
    found: dict[str, None] = {}
    for model, chain, evaluation in cells:
        settings = study.config.evaluations[evaluation]
        kind = evaluations.kind_of(settings)
        if kind.keeps:
            cell = f"{results}/cells/{model}/{chain}/{evaluation}.json"
            found |= dict.fromkeys(kind.files_beside(cell))
            tokens = kind.needs(settings).token_files(f"{results}/tokens/{model}")
            found |= dict.fromkeys(tokens[key] for key in tokens if key == "token_ends")
    return list(found)
