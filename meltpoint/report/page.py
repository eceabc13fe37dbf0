"""Writes the entries of a report as one HTML page."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from meltpoint.errors import MeltpointError
from meltpoint.files import whole_file
from meltpoint.report import markdown, svg, transition_table
from meltpoint.report.entries import Item
from meltpoint.report.html_table import read_csv, to_html

HERE = Path(__file__).parent
# Suffixes of a table's files that the page offers for download, with their names.
DOWNLOADS = {".csv": "CSV", ".tex": "LaTeX"}


def write(target: Path, title: str, lead: str, entries: Sequence[dict]) -> None:
    """Writes a page that needs no other file.

    lead: introduction in Markdown. entries: results of `fact` and `entries_of`. Raises MeltpointError
    for two entries of one name.
    """
    names = [entry["name"] for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MeltpointError(f"two entries of the report are called {twice[0]!r}")
    html = template().render(
        title=title,
        lead=Markup(markdown.html(lead)),
        sections=by_category(entries),
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        js=Markup((HERE / "page.js").read_text(encoding="utf-8")),
    )
    with whole_file(target) as partial:
        partial.write_text(html, encoding="utf-8")


def template() -> Template:
    """The page's template."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def by_category(entries: Iterable[dict]) -> dict[str, list[dict]]:
    """Entries by category; categories are in the order of their first entries."""
    sections: dict[str, list[dict]] = {}
    for one in entries:
        sections.setdefault(one["category"], []).append(one)
    return sections


def fact(category: str, name: str, title: str, html: str, caption: str = "") -> dict:
    """An entry for the template, from finished HTML."""
    return {
        **{"category": category, "name": name, "title": title, "body": Markup(html)},
        **{"caption": Markup(markdown.inline(caption)), "downloads": [], "figure": False},
    }


def entries_of(items: Iterable[Item], folder: Path) -> list[dict]:
    """Entries for the template from items, whose paths are relative to `folder`.

    Raises MeltpointError, naming the item, for a file that is missing or cannot be read.
    """
    # The prefix keeps the ids of drawings apart.
    return [entry(item, folder, f"f{n}-") for n, item in enumerate(items)]


def entry(item: Item, folder: Path, prefix: str) -> dict:
    """Entry for the template from one item; `prefix` is put before the ids of its drawing."""
    try:
        parts = []
        if item.figure:
            drawing = (folder / item.figure).read_text(encoding="utf-8")
            parts.append(
                f'<div class="card">{svg.embed(drawing, prefix, escape(item.title))}</div>'
            )
        if item.table:
            parts.append(table(folder / item.table, item.caption))
        if item.curves:
            parts.append(transition_table.html(folder / item.curves))
        if item.text:
            parts.append(text(folder / item.text))
        files = filter(None, (item.table, item.curves, item.text))
        downloads = [link for file in files for link in links(folder / file)]
    except (OSError, ValueError, TypeError) as error:
        raise MeltpointError(
            f"{item.name}, an item of the report, cannot be read ({type(error).__name__}: {error}); "
            "delete its file and run again"
        ) from error
    shown = fact(item.category, item.name, item.title, "\n".join(parts), item.caption)
    return shown | {"downloads": downloads, "figure": item.figure is not None}


def table(path: Path, caption: str) -> str:
    """HTML of a table, from its Markdown file if there is one, else from its CSV file.

    The caption in the Markdown file is left out if the page's `caption` contains it.
    """
    printed = path.with_suffix(".md")
    if not printed.exists():
        return to_html(read_csv(path))
    content = printed.read_text(encoding="utf-8")
    above, _, rest = content.partition("\n\n")
    known = rest and markdown.plain(above) in markdown.plain(caption)
    return markdown.html(rest if known else content)


def text(path: Path) -> str:
    """HTML of a text, folded away because reports are longer than the rest of the page."""
    content = path.read_text(encoding="utf-8")
    plain = f"<pre>{escape(content, quote=False)}</pre>"
    body = markdown.html(content) if path.suffix == ".md" else plain
    return f'<details><summary>Read it</summary><div class="text">{body}</div></details>'


def links(path: Path) -> list[dict]:
    """Links that contain the files of a table, or a text: label, file name and data URI."""
    suffixes = DOWNLOADS if path.suffix in DOWNLOADS else {path.suffix: "Text"}
    files = [(path.with_suffix(suffix), label) for suffix, label in suffixes.items()]
    return [
        {"label": label, "file": file.name, "uri": data_uri(file)}
        for file, label in files
        if file.exists()
    ]


def data_uri(file: Path) -> str:
    """Data URI with a file's content."""
    kind = "text/csv" if file.suffix == ".csv" else "text/plain"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
