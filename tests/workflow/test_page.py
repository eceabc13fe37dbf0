"""When the page of a study is made again, and that it makes nothing else again."""

import pytest

from tests.support.project import pending

PAGE = "results/tiny/report.html"


def planned(project) -> str:
    """What a dry run of the page says."""
    result = project.snakemake("-n", PAGE)
    assert result.code == 0, result.output
    return result.output


def test_finished_study_has_its_page(finished):
    words = (finished.folder / PAGE).read_text()
    for shown in ("figure-pruning", "table-calibrations", "transitions-pruning", "prose-32"):
        assert shown in words
    assert "Report of the study" not in planned(finished)


@pytest.mark.parametrize("part", ["page.css", "page.html", "cell_summary.py"])
def test_code_of_the_page_makes_it_again_and_nothing_else(project, everything, part):
    text = {".css": "a { color: red; }", ".html": "<!-- -->", ".js": "0;", ".py": "CHANGED = 1"}
    project.append(f"meltpoint/report/{part}", f"\n{text[part[part.rindex('.') :]]}\n")
    plans = project.plans()
    assert plans[PAGE] == "update pending"
    assert pending(plans) == set()


def test_caption_is_followed(project):
    project.edit_study(lambda study: study["figures"]["pruning"].update(caption="Seen so"))
    project.run()
    assert "Seen so" in (project.folder / PAGE).read_text()


def test_touched_parts_make_no_page(project):
    project.touch("meltpoint/report/page.css", "meltpoint/report/page.py", "scripts/report.py")
    assert "Report of the study" not in planned(project)
