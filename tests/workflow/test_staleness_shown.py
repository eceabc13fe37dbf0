"""Which tables, figures and transition points a change makes again."""

import pytest

from tests.support.project import named


def test_what_a_table_says_changes_that_table(project, everything):
    for change in ({"caption": "Perplexity"}, {"order": ["wanda", "magnitude"]}, {"digits": 3}):
        project.edit_study(lambda study, change=change: study["tables"]["pruning"].update(change))
        assert project.stale() == named(everything, "tables/pruning"), change


def test_colour_changes_that_figure(project, everything):
    project.edit_study(lambda study: study["figures"]["pruning"].update(colors={"wanda": "red"}))
    assert project.stale() == named(everything, "figures/pruning")


def test_table_added_makes_that_table(project):
    table = {"source": "pruning", "value": "prose-32", "show": "difference"}
    project.edit_study(lambda study: study["tables"].update(differences=table))
    assert project.stale() == {"tables/differences.csv"}


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        ("tables/build.py", ["tables/"]),
        ("tables/markup.py", ["tables/"]),
        ("transitions/fit.py", ["transitions/", "figures/"]),
        ("transitions/forms.py", ["transitions/", "figures/"]),
        ("figures/curves.py", ["figures/"]),
        ("figures/style.py", ["figures/"]),
        ("analysis/frame.py", ["tables/", "transitions/", "figures/"]),
    ],
)
def test_code_that_shows_cells_changes_what_it_makes(project, everything, module, shown):
    project.append(f"meltpoint/{module}", "\nCHANGED = True\n")
    assert project.stale() == named(everything, *shown)
