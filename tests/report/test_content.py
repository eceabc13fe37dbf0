"""The report page: what stands on it."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import Score
from meltpoint.published import page
from meltpoint.report import cell_summary, markdown, svg
from meltpoint.report.build import build
from meltpoint.report.html_table import number, read_csv
from tests.report.pages import CELLS, ITEMS, RAW, REASON, cell, described, write_table


class Elements(HTMLParser):
    """The attributes of all elements, and the text between tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.found if attribute in attrs]


# --- the file --------------------------------------------------------------------------------------


def test_ids_are_unique_and_every_reference_is_met(page):
    html = page.read_text()
    elements = Elements(html)
    ids = Counter(elements.values("id"))
    assert max(ids.values()) == 1
    targets = [link[1:] for name in ("href", "xlink:href") for link in elements.values(name)]
    local = [link for link in targets if link and not link.startswith("ata:")]
    local += re.findall(r"url\(#([^)]+)\)", html)
    assert len(local) > 100
    assert set(local) <= set(ids)


def test_nothing_is_loaded_from_elsewhere(page):
    elements = Elements(page.read_text())
    assert not elements.values("src")
    links = [attrs["href"] for tag, attrs in elements.found if tag in ("a", "link")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"@import|url\((?!#)", page.read_text())


def test_page_says_what_the_cells_say(page):
    words = Elements(page.read_text()).words
    assert "3 cells of 3 checkpoints, dense ones included: 2 measured, 1 not applicable." in words
    assert words.count(REASON) == 2, "once in the summary, once below the table"
    for fact in (
        "perplexity: prose, window: 32",
        "2.13.0",
        "c0de",
        "hash of dense",
        "20.00 ± 0.25",
    ):
        assert fact in words
    assert "hash of wanda" not in words


def test_table_is_the_printed_one_with_marks_and_notes(page):
    html = page.read_text()
    assert "Printed &lt;above&gt;" in html
    assert "<strong>" in html
    assert f"<sup>a</sup> {REASON}" in html
    assert re.search(r"N/A<sup>a</sup></td>", html)


def test_text_is_converted_and_escaped(page):
    html = page.read_text()
    assert "<h4>Findings</h4>" in html
    assert 'download="text.md"' in html
    assert "<code>a.csv</code> &amp; <strong>more</strong>" in html
    assert "<li>&lt;script&gt;alert(1)&lt;/script&gt;</li>" in html


def test_caption_that_a_table_has_already_is_said_once(tmp_path):
    write_table(tmp_path / "tables/a")
    item = ITEMS[2] | {"caption": "Printed <above> and explained."}
    build(tmp_path / "report.html", described([item]))
    words = Elements((tmp_path / "report.html").read_text()).words
    assert words.count("Printed <above>") == 1


def test_same_input_same_bytes(page, tmp_path):
    again = tmp_path / "project"
    shutil.copytree(page.parent, again)
    (again / "report.html").unlink()
    build(again / "report.html", described(ITEMS), sorted(again.glob("*.json")))
    assert (again / "report.html").read_bytes() == page.read_bytes()


def test_what_is_missing_or_wrong_is_said_in_a_sentence(tmp_path):
    missing = described([ITEMS[3]])
    with pytest.raises(MeltpointError, match=r"raw, an item of the report, .*FileNotFoundError"):
        build(tmp_path / "report.html", missing)
    (tmp_path / "raw.csv").write_text(RAW)
    with pytest.raises(MeltpointError, match="two entries of the report are called 'raw'"):
        build(tmp_path / "report.html", described([ITEMS[3], ITEMS[3]]))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(MeltpointError, match=r"bad\.json is not a cell that can be read"):
        build(tmp_path / "report.html", described([]), [tmp_path / "bad.json"])
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("report.build", {"torch", "numpy", "pandas", "matplotlib", "scipy"}),
        # Read whenever Snakemake starts, where perhaps nothing but Snakemake and pydantic is installed.
        ("workflow.plan", {"torch", "numpy", "pandas", "matplotlib", "scipy", "jinja2"}),
    ],
)
def test_nothing_heavy_is_imported(module, heavy):
    code = f"import sys, meltpoint.{module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_items_of_the_published_page_are_named_once_and_have_files():
    items = page.items()
    assert len({item.name for item in items}) == len(items) > 40
    assert all(item.files and item.title and item.caption for item in items)
    assert len({file for item in items for file in item.files}) >= len(items)


# --- its parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (r"a\|b \*c\* &lt;d>", "a|b *c* &lt;d&gt;"),
        ("**1.5**<sup>a,b</sup>", "<strong>1.5</strong><sup>a,b</sup>"),
        ("<u>2</u> ± 0.1", "<u>2</u> ± 0.1"),
        (
            "[all](https://example.org/?a=1&b=2)",
            '<a href="https://example.org/?a=1&amp;b=2">all</a>',
        ),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("2 * 3 * 4, acc_mean_x", "2 * 3 * 4, acc_mean_x"),
        ('<img src="x">', '&lt;img src="x"&gt;'),
    ],
)
def test_inline_markup(text, html):
    assert markdown.inline(text) == html


def test_blocks():
    text = "## T\nwords\ngo on\n\n1. a\n   b\n2. c\n\n```\n<x> | y\n--|--\n```\n\n"
    text += "a | b\n--|--:\n1 | x\\|y"
    html = markdown.html(text)
    assert "<h5>T</h5>\n<p>words\ngo on</p>" in html
    assert "<ol>\n<li>a\nb</li>\n<li>c</li>\n</ol>" in html
    assert "<pre><code>&lt;x&gt; | y\n--|--\n</code></pre>" in html
    assert '<td class="r" data-v="1.0">1</td>\n<td class="r">x|y</td>' in html


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("12.5", 12.5), ("1,234.5 ± 0.1", 1234.5), ("−3 %", -3), ("+0.5", 0.5), (".5", 0.5)],
        *[("1e-3", 1e-3), ("2:4", None), ("4-bit", None), ("0.1–0.5", None), ("nan", None)],
        *[("inf", None), ("", None), ("N/A", None), ("1e999", None), ("7 (12)", 7)],
    ],
)
def test_numbers_that_cells_show(text, value):
    assert number(text) == value


def test_csv_is_shown_short_and_as_it_is(tmp_path):
    (tmp_path / "a.csv").write_text('name,value\n"a_b, *c*",0.123456789\n"x\ny",12\nz,inf\n')
    grid = read_csv(tmp_path / "a.csv")
    assert grid.right == [False, True]
    assert [row[0] for row in grid.rows] == ["a_b, *c*", "x\ny", "z"]
    assert [row[1] for row in grid.rows] == ["0.12346", "12", "inf"]


def test_drawing_is_embedded_without_what_would_reach_the_page():
    source = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="9pt" height="4pt" viewBox="0 0 9 4" '
        'version="1.1">\n <metadata>x</metadata>\n <defs>\n  <style type="text/css">*{stroke: red}'
        '</style>\n </defs>\n <path id="a"/>\n <use xlink:href="#a"/>\n <g clip-path="url(#a)"/>'
        "\n</svg>"
    )
    found = svg.embed(source, "f1-", "A &amp; B")
    assert found.startswith('<svg viewBox="0 0 9 4" version="1.1" role="img"')
    assert 'aria-label="A &amp; B"' in found
    assert not re.search('DOCTYPE|metadata|<style|red|pt"', found)
    assert '<path id="f1-a"/>\n<use xlink:href="#f1-a"/>\n<g clip-path="url(#f1-a)"/>' in found


def test_facts_without_anything_left_out():
    names = [entry["name"] for entry in cell_summary.before(CELLS[:2], {})]
    assert names == ["models", "evaluations"]


def test_refused_scores_are_counted_and_said():
    refused = Score(status="refused", reason="all answers are empty", unit="%", better="higher")
    cells = [CELLS[0], cell("wanda@0.5", refused)]
    shown = [*cell_summary.before(cells, {}), *cell_summary.after(cells)]
    entries = {entry["name"]: entry for entry in shown}
    assert "1 scores are refused" in str(entries["models"])
    assert "refused" in str(entries["cells"])
