"""The report page: what it does in a browser."""

import shutil
from pathlib import Path

import pytest

from tests.report.pages import ITEMS


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
