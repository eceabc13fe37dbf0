"""The report page: what stands on it, and what it does in a browser."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from meltpoint import figures
from meltpoint.analysis import tables
from meltpoint.errors import MeltpointError
from meltpoint.report import facts, markdown, published, svg
from meltpoint.report.build import build
from meltpoint.report.grid import number, read_csv
from meltpoint.sections import Table
from tests.test_figures import frame, spec

ITEMS = [
    {"category": "Figures", "name": "figure-a", "title": "Curves", "figure": "figures/a.svg"},
    {"category": "Figures", "name": "figure-b", "title": "Again", "figure": "figures/b.svg"},
    {"category": "Tables", "name": "table-a", "title": "Perplexity", "table": "tables/a.csv"},
    {"category": "Tables", "name": "raw", "title": "As measured", "table": "raw.csv"},
    {"category": "Texts", "name": "text", "title": "What it means", "text": "text.md"},
]
TEXT = "# Findings\n\nSee `a.csv` & **more**:\n\n- one\n- <script>alert(1)</script>\n"
RAW = "method,value\nten,10\nnone,nan\nnine,9\nmany,inf\nlarge,1e3\nempty,\nlow,-2.5\n"
REASON = "2:4 needs rows whose length is a multiple of 4"


def cell(chain: str, value: float | str | None, reason: str | None = None) -> dict:
    return {
        **{"model": "m", "chain": chain, "evaluation": "ppl-32", "reason": reason},
        **{
            "status": "not_applicable" if reason else "ok",
            "metric": None if reason else "perplexity",
        },
        **{"unit": None if reason else "per token", "value": value},
        **{"stderr": None if reason else 0.25, "seconds": 1.5, "peak_memory": 1},
        "difference": None if reason else {"value": 1.5, "stderr": 0.01},
        "sparsity": {"requested": 0.5, "achieved": 0.5},
        "protocol": {"perplexity": "prose", "window": 32},
        "provenance": {
            **{"code": "c0de", "env": "e0", "checkpoint": f"hash of {chain}"},
            "versions": {"torch": "2.13.0"} if chain != "dense" else None,
        },
    }


CELLS = [cell("dense", 20.0), cell("wanda@0.5", "inf"), cell("wanda@2of4", None, REASON)]


def write_figures(folder: Path) -> None:
    drawn = figures.draw("curves", frame().assign(achieved=0.5), None, spec(fit=None))
    figures.save(drawn, [folder / "a.svg", folder / "b.svg"])


def write_table(stem: Path) -> None:
    cells = frame()
    cells.loc[1, "value"] = np.inf
    columns = dict.fromkeys(("difference", "difference_stderr", "requested"), np.nan)
    cells = cells.assign(achieved=np.nan, unit="", reason="", source="measured", **columns)
    cells.loc[cells["level"] == "2of4", ["status", "reason"]] = ["not_applicable", REASON]
    shown = Table(of="x", value="ppl", digits=1, error=True, caption="Printed <above>")
    table = tables.build(cells, shown)
    stem.parent.mkdir()
    stem.with_suffix(".csv").write_text(tables.to_csv(table))
    stem.with_suffix(".md").write_text(tables.to_markdown(table))
    stem.with_suffix(".tex").write_text(tables.to_latex(table))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A page of every kind of item, and of cells."""
    folder = tmp_path_factory.mktemp("report")
    write_figures(folder / "figures")
    write_table(folder / "tables/a")
    (folder / "raw.csv").write_text(RAW)
    (folder / "text.md").write_text(TEXT)
    for n, content in enumerate(CELLS):
        (folder / f"{n}.json").write_text(json.dumps(content))
    build(folder / "report.html", described(ITEMS), sorted(folder.glob("*.json")))
    return folder / "report.html"


def described(items: list[dict]) -> dict:
    empty = {"caption": "", "table": None, "figure": None, "text": None}
    full = [{**empty, **item} for item in items]
    return {"title": "Report", "lead": "All of *it*.", "items": full, "sources": {"m": "here"}}


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
        ("plan", {"torch", "numpy", "pandas", "matplotlib", "scipy", "jinja2"}),
    ],
)
def test_nothing_heavy_is_imported(module, heavy):
    code = f"import sys, meltpoint.{module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_items_of_the_published_page_are_named_once_and_have_files():
    items = published.items()
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
    assert "<ol><li>a b</li><li>c</li></ol>" in html
    assert "<pre>&lt;x&gt; | y\n--|--</pre>" in html
    assert '<td class="r" data-v="1.0">1</td><td class="r">x|y</td>' in html


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
    assert [markdown.plain(row[0]) for row in grid.rows] == ["a_b, *c*", "x\ny", "z"]
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
    names = [entry["name"] for entry in facts.before(facts_of(CELLS[:2]), {})]
    assert names == ["models", "evaluations"]


def facts_of(cells: list[dict]) -> list[dict]:
    return [{**cell, "versions": {}} for cell in cells]


# --- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, page):
    """Opens the page at a width; afterwards nothing may have failed, or been asked of a network."""
    contexts, complaints = [], []

    def open_at(width: int, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: complaints.append(request.url))
        tab.goto(page.as_uri())
        return tab

    yield open_at
    for context in contexts:
        context.close()
    allowed = ("data:", page.as_uri())
    assert [words for words in complaints if not words.startswith(allowed)] == []


def column(tab, article: str, index: int) -> list[str]:
    cells = tab.locator(f"#{article} tbody tr td:nth-child({index})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_head_sorts_numbers_and_undefined_ones_come_last(open_page):
    tab = open_page(1280)
    before = column(tab, "raw", 1)
    head = tab.locator("#raw th:nth-child(2)")
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(tab, "raw", 1)[:4] == ["low", "nine", "ten", "large"]
    assert column(tab, "raw", 1)[4:] == ["none", "many", "empty"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(tab, "raw", 1) == ["large", "ten", "nine", "low", "none", "many", "empty"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert column(tab, "raw", 1) == before


def test_keyboard_sorts_words(open_page):
    tab = open_page(1280)
    head = tab.locator("#raw th:nth-child(1)")
    head.get_by_role("button").focus()
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(tab, "raw", 1) == sorted(column(tab, "raw", 1))


def test_sorting_another_column_clears_the_first(open_page):
    tab = open_page(1280)
    for index in (1, 2):
        tab.locator(f"#raw th:nth-child({index})").get_by_role("button").click()
    sorts = [head.get_attribute("aria-sort") for head in tab.locator("#raw th").all()]
    assert sorts == ["none", "ascending"]


def middle(tab, article: str, text: str) -> tuple[float, float]:
    circle = tab.locator(f'#{article} circle[data-text^="{text}"]').first
    circle.scroll_into_view_if_needed()
    box = circle.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("article", ["figure-a", "figure-b"])
def test_point_says_what_it_is(open_page, article):
    tab = open_page(1280)
    tip = tab.locator("#tip")
    assert tip.is_hidden()
    x, y = middle(tab, article, "wanda at 0.3")
    tab.mouse.move(x + 1, y + 1)
    value = 20 * (1 + 0.3 * 0.3**2)
    assert tip.inner_text().splitlines() == [
        *["wanda at 0.3", f"perplexity {value:.2f} ± 0.21", "achieved sparsity 0.5000"]
    ]
    tab.mouse.move(5, 5)
    assert tip.is_hidden()


def test_touch_shows_a_point_and_hides_it(open_page):
    tab = open_page(390, has_touch=True)
    tab.touchscreen.tap(*middle(tab, "figure-a", "sparsegpt at 0.8"))
    tip = tab.locator("#tip")
    assert tip.inner_text().startswith("sparsegpt at 0.8\nperplexity")
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    tab.touchscreen.tap(5, 5)
    assert tip.is_hidden()


def test_arrows_go_from_point_to_point(open_page):
    tab = open_page(1280)
    tab.locator("#figure-a svg").focus()
    texts = []
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
        texts.append(tab.locator("#tip").inner_text())
    assert texts[0] != texts[1]
    tab.keyboard.press("Escape")
    assert tab.locator("#tip").is_hidden()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_never_scrolls_sideways(open_page, width):
    tab = open_page(width)
    sizes = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    page_width, window = tab.evaluate(sizes)
    assert page_width == window == width


def test_wide_table_scrolls_in_its_box(open_page):
    tab = open_page(390)
    box = tab.locator("#cells .scroll")
    first = box.locator("tbody tr:nth-child(1) td").first
    before = first.bounding_box()["x"]
    box.evaluate("box => box.scrollTo(100, 0)")
    assert box.evaluate("box => box.scrollLeft") == 100
    assert first.bounding_box()["x"] == before, "the first column stays"


def test_filter_leaves_what_holds_all_words(open_page):
    tab = open_page(1280)
    tab.get_by_role("searchbox").fill("wanda multiple")
    shown = [one.get_attribute("id") for one in tab.locator("main article:visible").all()]
    assert shown == ["not-applicable", "table-a"]
    assert tab.locator("nav li:visible").count() == 2
    assert tab.locator(".nothing").is_hidden()
    tab.get_by_role("searchbox").fill("no such word")
    assert tab.locator(".nothing").is_visible()
    tab.get_by_role("searchbox").fill("")
    assert tab.locator("main article:visible").count() == len(ITEMS) + 5


def test_downloads_hold_the_files(open_page, page):
    tab = open_page(1280)
    with tab.expect_download() as caught:
        tab.locator("#table-a .downloads").get_by_text("CSV").click()
    assert caught.value.suggested_filename == "a.csv"
    assert Path(caught.value.path()).read_bytes() == (page.parent / "tables/a.csv").read_bytes()
    with tab.expect_download() as caught:
        tab.locator("#figure-a .downloads").get_by_role("button").click()
    assert caught.value.suggested_filename == "figure-a.svg"
    assert "<svg" in Path(caught.value.path()).read_text()


def test_dark_page_keeps_drawings_on_white(open_page):
    tab = open_page(1280, color_scheme="dark")
    background = "node => getComputedStyle(node).backgroundColor"
    assert tab.locator("body").evaluate(background) != "rgb(255, 255, 255)"
    assert tab.locator("#figure-a .card").evaluate(background) == "rgb(255, 255, 255)"
