"""The analysis of a study's parameter search as paths."""

from meltpoint.study import parameter_search
from meltpoint.study.resolved import Cell, Study
from meltpoint.workflow import kept


class SearchAnalysis:
    """What the analysis of a study's parameter search reads and makes, below its `results`."""

    def __init__(self, study: Study, results: str) -> None:
        self.study, self.results = study, results
        self.section = study.config.parameter_search

    @property
    def files(self) -> list[str]:
        """Files that it makes; none for a study without a search."""
        return [f"{self.results}/search/{name}" for name in parameter_search.outputs(self.study)]

    @property
    def cells(self) -> list[str]:
        """Cells that it reads."""
        return [f"{self.results}/cells/{'/'.join(cell)}.json" for cell in self._cells]

    @property
    def kept(self) -> list[str]:
        """Files beside those cells."""
        return kept.files(self.study, self.results, self._cells)

    @property
    def _cells(self) -> list[Cell]:
        return parameter_search.cells(self.study)
